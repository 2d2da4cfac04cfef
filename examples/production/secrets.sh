#!/bin/sh
# Make .env with secrets of your own, unless it is there.
set -eu
cd "$(dirname "$0")"
[ -e .env ] && exit
umask 077
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
{
    echo "SECRET_KEY=$(random)"
    echo "POSTGRES_PASSWORD=$(random)"
    echo "RABBITMQ_PASSWORD=$(random)"
    echo "REDIS_PASSWORD=$(random)"
} >.env.new
mv .env.new .env
