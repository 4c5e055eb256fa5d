-- A shop's database. All numbers follow from the rows' own.
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, town TEXT NOT NULL, since INTEGER);
CREATE TABLE item (id INTEGER PRIMARY KEY, label TEXT NOT NULL, price REAL NOT NULL);
CREATE TABLE sale (id INTEGER PRIMARY KEY, customer INTEGER, item INTEGER, day INTEGER, pieces INTEGER);

BEGIN;
INSERT INTO customer
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    SELECT i, 'customer ' || (i * 7919 % 10007), 'town ' || (i * i % 97), i * 31 % 3650 FROM n;
INSERT INTO item
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    SELECT i, printf('%s-%04d', char(65 + i % 26), i * 37 % 5003), (i * 101 % 997) / 10.0 FROM n;
INSERT INTO sale
    WITH RECURSIVE n(i, r) AS (
        SELECT 1, 42 UNION ALL SELECT i + 1, (r * 1103515245 + 12345) & 2147483647 FROM n WHERE i < 40000)
    SELECT i, 1 + (r >> 8) % 4000, 1 + (r >> 12) % 500, (r >> 5) % 3650, 1 + (r >> 16) % 9 FROM n;
COMMIT;

CREATE INDEX sale_customer ON sale (customer, day);
CREATE INDEX sale_item ON sale (item);
CREATE INDEX customer_town ON customer (town);

SELECT c.town, count(*), sum(s.pieces), round(sum(s.pieces * i.price), 2) AS worth
    FROM sale s JOIN customer c ON c.id = s.customer JOIN item i ON i.id = s.item
    GROUP BY c.town ORDER BY worth DESC, c.town LIMIT 20;
SELECT substr(label, 1, 1) AS letter, round(avg(price), 3), max(label), min(label)
    FROM item GROUP BY letter ORDER BY letter;
SELECT count(*) FROM customer WHERE name LIKE '%99%' OR town LIKE '%7';
SELECT c.name, (SELECT count(*) FROM sale s WHERE s.customer = c.id AND s.day BETWEEN 100 AND 2000) AS many
    FROM customer c ORDER BY many DESC, c.name LIMIT 10;
SELECT day / 365, sum(pieces) OVER (ORDER BY day / 365) FROM (
    SELECT day / 365 * 365 AS day, sum(pieces) AS pieces FROM sale GROUP BY 1);

BEGIN;
UPDATE sale SET pieces = pieces + 1 WHERE item % 7 = 3;
UPDATE customer SET name = upper(name) WHERE id IN (SELECT customer FROM sale WHERE day < 300);
DELETE FROM sale WHERE day > 3300;
COMMIT;
SELECT count(*), sum(pieces), sum(day) FROM sale;
SELECT count(*) FROM customer WHERE name GLOB 'CUSTOMER*';
ANALYZE;
VACUUM;
PRAGMA integrity_check;
