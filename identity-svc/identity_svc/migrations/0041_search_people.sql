-- People are found by any part of their names and addresses, among very many: by its pieces of one to three letters.
CREATE FUNCTION pieces(body text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(body, place, size)), '{}')
    FROM generate_series(1, 3) AS size, generate_series(1, length(body) - size + 1) AS place
$$;

-- What a text has that has all these words in it, in lower case: of each its longest pieces.
CREATE FUNCTION pieces_of_words(words text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(lower(word COLLATE pg_c_utf8), place, least(length(word), 3))), '{}')
    FROM unnest(words) AS word, generate_series(1, greatest(length(word) - 2, 1)) AS place
$$;

-- The expression is that of the queries.
CREATE INDEX users_by_pieces ON users USING gin (pieces(lower((email || ' ' || name) COLLATE pg_c_utf8)))
    WITH (fastupdate = off);

-- The list of all invites, in whatever role.
CREATE INDEX invites_by_creation ON invites (created_at DESC, invite_id DESC);
