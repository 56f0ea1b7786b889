-- Who reads changes of standing, how far it has come, and whether the gateways' Redis has what follows from those: what
-- an admin who blocks somebody is told. Written every second or so by each reader, and of no use when it is old.
CREATE TABLE standing_readers (
    service text PRIMARY KEY,
    version bigint NOT NULL,
    is_delivered boolean NOT NULL,
    asked_at timestamptz NOT NULL
);
