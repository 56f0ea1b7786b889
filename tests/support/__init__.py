"""What the tests of the whole system share: clients, browsers, demo data and the running system itself."""
