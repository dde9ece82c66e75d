"""How every command line is declared, run and answered: parsers, exit statuses, streams, tables, errors."""
