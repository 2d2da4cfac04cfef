-- What a row takes in each table and index, on PostgreSQL. Makes rows, measures, and rolls back. On a database of its own:
--   createdb sizes && flask --app app create-tables && psql -v rows=1000000 -f sizes.sql sizes
\set ON_ERROR_STOP on
BEGIN;

-- In random order, as people come: a B-tree that grows so has fuller and emptier pages.
INSERT INTO users (username, username_key, email, password_hash, first_name, last_name,
                   is_active, is_verified, security_stamp, date_joined, last_login)
SELECT 'somebody' || n, 'somebody' || n, 'somebody' || n || '@example.com',
       '$argon2id$v=19$m=19456,t=2,p=1$' || left(md5(n::text), 22) || '$' || left(md5(n::text) || md5(n::text), 43),
       'Alexandra', 'Featherstone', true, true, md5('stamp' || n), now(), now()
FROM generate_series(1, :rows) AS n ORDER BY random();

INSERT INTO login (user_id, kind, digest, stamp_mark, methods, fresh_at, created_at, expires_at, last_used_at, ip_address, user_agent)
SELECT n::text, 'session', encode(sha256(n::text::bytea), 'hex'), md5('mark' || n), 'pwd', now(),
       now(), now() + n * interval '1 second', now(), '203.0.113.' || n % 256,
       'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
FROM generate_series(1, :rows) AS n ORDER BY random();

-- Mails that were sent: the content is gone, and due_at is NULL.
INSERT INTO outbox (message_id, state, template, user_id, recipient, tries, created_at, finished_at)
SELECT '<1700000000.' || n || '.' || md5(n::text) || '@example.com>', 'sent', 'register', n::text,
       'somebody' || n || '@example.com', 1, now(), now()
FROM generate_series(1, :rows) AS n;

SELECT relname AS "table or index", round(pg_relation_size(oid)::numeric / :rows) AS "bytes a row"
FROM pg_class
WHERE relname ~ '^(users|login|outbox|ix_(login|outbox))' AND relkind IN ('r', 'i')
ORDER BY substring(relname FROM 'users|login|outbox'), relkind DESC, relname;

ROLLBACK;
