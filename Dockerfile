# The orchestrator's daemon. deploy/README.md says how it is run.
#   docker build -t orchestrator .
#   docker run --read-only --tmpfs /tmp -v orchestrator-data:/data orchestrator serve --sandbox
# The extra [postgres], for several daemons on one database, is in it: NOTICE names its packages and their licences.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY migrations ./migrations
COPY orchestrator ./orchestrator
RUN python -m venv /opt/orchestrator \
 && /opt/orchestrator/bin/pip install --no-cache-dir --disable-pip-version-check '.[postgres]'

FROM python:3.13-slim
# A number of its own, so that a volume belongs to the same user on every machine; it owns nothing but /data.
RUN groupadd --gid 10001 orchestrator \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin orchestrator \
 && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/orchestrator /opt/orchestrator
# The store and the socket lie in the volume, settings are read from /etc/orchestrator/config.toml: the root can be read-only.
ENV PATH=/opt/orchestrator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    XDG_CONFIG_HOME=/etc \
    XDG_RUNTIME_DIR=/data \
    ORCHESTRATOR_DATABASE__PATH=/data/orchestrator.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["orchestrator", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["orchestrator"]
CMD ["serve"]
