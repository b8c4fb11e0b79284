"""Tables, queries and migrations. Functions take the transaction; none commits."""
