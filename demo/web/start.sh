#!/bin/sh
echo "serving /var/www on port $PORT as process $$ on $(hostname)"
exec httpd -f -v -p "$PORT" -h /var/www
