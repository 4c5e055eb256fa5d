# A database on the disk: rows, indices, joins, groups, changes, and putting it in order.
prepare() { :; }
work() { sqlite3 -batch shop.db < "$here/sqlite.sql"; }
