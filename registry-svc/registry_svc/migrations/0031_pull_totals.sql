-- How many pulls a process has metered, by UTC day, merchant and consumer: what usage-svc should have of them, told as
-- ams.usage.v1.ForwardedTotal. Of days that are over nothing is kept.
CREATE TABLE pull_totals (
    journal_id uuid NOT NULL,  -- the process's
    day date NOT NULL,
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    pulls bigint NOT NULL CHECK (pulls >= 1),
    PRIMARY KEY (journal_id, day, merchant_id, consumer_id)
);
CREATE INDEX pull_totals_by_day ON pull_totals (day);

-- Pulls from before anybody counted them are told now, in a journal that has this id wherever and whenever it is
-- made: of a dump that is migrated again no pull is told twice.
CREATE FUNCTION pg_temp.varint(number bigint) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    encoded bytea := '';
BEGIN
    WHILE number > 127 LOOP
        encoded := encoded || set_byte('\x00', 0, ((number & 127) | 128)::integer);
        number := number >> 7;
    END LOOP;
    RETURN encoded || set_byte('\x00', 0, number::integer);
END $$;

-- A ForwardedTotal: before each of its fields its number, its kind and, but for the count, its length in bytes.
INSERT INTO outbox (destination, topic, message_key, payload)
SELECT 'kafka', 'usage.forwarded', convert_to(consumer_id::text, 'UTF8'),
       '\x0a10'::bytea || uuid_send('db880e7b-f604-414d-ab46-61e934bc40d6')
           || '\x120a'::bytea || convert_to(to_char(day, 'YYYY-MM-DD'), 'UTF8')
           || '\x1a24'::bytea || convert_to(merchant_id::text, 'UTF8')
           || '\x2224'::bytea || convert_to(consumer_id::text, 'UTF8')
           || '\x28'::bytea || pg_temp.varint(count(*))
  FROM (
    SELECT (pulled_at AT TIME ZONE 'UTC')::date AS day, images.merchant_id, consumer_id
      FROM pulls JOIN images USING (image_id)
  ) AS pulled
 GROUP BY day, merchant_id, consumer_id
 ORDER BY day, merchant_id, consumer_id;
