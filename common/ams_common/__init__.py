"""The little that all AMS services share."""
