"""Self-contained HTML pages and their figures, made from results already computed."""
