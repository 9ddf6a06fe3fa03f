FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/hearth ./cmd/hearth && mkdir /out/uploads

# Nothing but the binary and the certificate authorities (TLS to Redis, MySQL and webhooks).
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/hearth /hearth
COPY --from=build --chown=65532:65532 /out/uploads /var/lib/hearth/uploads
USER 65532:65532

# Uploads outlive the container only in a volume, and several containers have to share it; or set
# HEARTH_UPLOADS_BUCKET_URL.
ENV HEARTH_UPLOADS_DIR=/var/lib/hearth/uploads

# Metrics are read from other containers: the loopback default would hide them. Do not publish 9090.
ENV HEARTH_HTTP_INTERNAL_ADDR=:9090
EXPOSE 8080 9090

# A new instance may be bringing the schema up to date first.
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["/hearth", "healthcheck"]

ENTRYPOINT ["/hearth"]
CMD ["serve"]
