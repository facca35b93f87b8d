"""CozoDB: connections and lease, schema and migrations, queries. The only layer that knows CozoScript."""
