package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"hearth/configs"
)

// result is what a run of the command line left.
type result struct {
	status         int
	stdout, stderr string
}

// hearth runs the command line in this process.
func hearth(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, &Process{Environ: environ, Stdout: &stdout, Stderr: &stderr})
	return result{status, stdout.String(), stderr.String()}
}

const testSecret = "q8Zr3vJm1xTn6bWc9sLd4fGh7kPy2aEu"

func servable() []string {
	return []string{
		"HEARTH_AUTH_JWT_HMAC_SECRET=" + testSecret,
		"HEARTH_REDIS_ADDRS=redis:6379",
		"HEARTH_MYSQL_DSN=hearth:hunter2@tcp(mysql:3306)/hearth",
	}
}

func TestHelpIsALineACommand(t *testing.T) {
	t.Parallel()
	got := hearth(t, nil, "--help")
	require.Equal(t, exitOK, got.status)
	for _, title := range []string{"Run:", "Set up:", "Look:"} {
		require.Contains(t, got.stdout, "\n"+title+"\n")
	}
	for _, command := range []string{"dev", "serve", "config", "keys", "token", "migrate", "dead", "hooks", "healthcheck", "version"} {
		require.Regexp(t, `(?m)^  `+command+` +[A-Z].*\.$`, got.stdout)
	}
}

func TestWithoutACommandItHelpsAndFails(t *testing.T) {
	t.Parallel()
	got := hearth(t, nil)
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stdout, "Usage: hearth <command>")
}

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"nope":                                  "unexpected argument nope",
		"serve --migrate=maybe":                 "--migrate must be one of",
		"serve --nope":                          "unknown flag --nope",
		"token new":                             "missing flags: --user=ID",
		"token new -u":                          "expected",
		"token new --usr x":                     `did you mean "--user"?`,
		"token new -u a/b":                      "--user",
		"token new -u system":                   "reserved",
		"token new -u alice --device a/b":       "--device",
		"token new -u alice --ttl 0s":           "--ttl must be at least 1s",
		"token new -u alice --ttl 5":            "--ttl",
		"token check":                           `expected "<token>"`,
		"config":                                "expected one of",
		"config init extra":                     "unexpected argument extra",
		"keys new --id a/b":                     "--id",
		"healthcheck ://":                       "missing protocol scheme",
		"dev --bots many":                       "--bots",
		"dead retry tea":                        "which seqs?",
		"dead retry tea 0":                      `a seq must be an integer from 1 on: "0"`,
		"dead retry tea 3 x":                    `a seq must be an integer from 1 on: "x"`,
		"dead retry --group tea tea 3":          "not both",
		"dead list extra":                       "unexpected argument extra",
		"hooks test":                            `expected "<URL>"`,
		"hooks test http://x --event sent":      "--event must be before_send, after_send,",
		"hooks test http://x --timeout 0s":      "--timeout must be more than 0",
		"hooks test http://x":                   "--secret, -c FILE or HEARTH_WEBHOOKS_SECRET",
		"hooks list --group a:b":                "--group",
		"hooks retry --group a:b":               "--group",
		"hooks replay g":                        "FROM..TO must be seqs",
		"hooks replay a:b 1..2":                 "GROUP",
		"hooks replay g a..b":                   "FROM..TO must be seqs",
		"hooks replay g 0..2":                   "FROM..TO must be seqs",
		"hooks replay g 3..2":                   "FROM..TO must be ascending",
		"hooks replay g 3..x":                   "FROM..TO must be ascending",
		"hooks test x --secret " + hookSecret:   "must be an http or https URL",
		"hooks test http://x --secret c2hvcnQ=": "the secret: secret 1 has 5 bytes",
		"migrate sideways":                      "unexpected argument sideways",
		"token check x --config":                "--config",
		"version --really":                      "unknown flag --really",
		"healthcheck --timeout now http:x":      "--timeout",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := hearth(t, servable(), strings.Fields(line)...)
			require.Equal(t, exitConfig, got.status, got.stderr)
			require.Contains(t, got.stderr, want)
			require.Empty(t, got.stdout)
		})
	}
}

func TestConfigInitGivesAFileThatChecksOnceItIsFilledIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	got := hearth(t, nil, "config", "init", "-o", path)
	require.Equal(t, exitOK, got.status, got.stderr)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	got = hearth(t, nil, "config", "check", "-c", path)
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stderr, "redis.addrs: is required")
	require.Contains(t, got.stderr, "mysql.dsn: is required")
	require.NotContains(t, got.stderr, "jwt_hmac_secret")

	got = hearth(t, servable()[1:], "config", "check", "-c", path)
	require.Equal(t, result{exitOK, "ok\n", ""}, got)

	got = hearth(t, nil, "config", "init", "-o", path)
	require.Equal(t, exitRuntime, got.status, "wrote over a file")
}

func TestConfigInitPrintsADifferentSecretEachTime(t *testing.T) {
	t.Parallel()
	a, b := hearth(t, nil, "config", "init"), hearth(t, nil, "config", "init")
	require.Equal(t, exitOK, a.status)
	require.NotEqual(t, a.stdout, b.stdout)
}

func TestConfigCheckPrintsAllMistakesWithLineAndCaret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	require.NoError(t, os.WriteFile(path, []byte("http:\n  adr: \":8080\"\nauth:\n  jwt_hmac_secret: changeme\nlog:\n  level: loud\n"), 0o600))
	got := hearth(t, []string{"HEARTH_REDIS_DB=x", "HEARTH_COLOUR=red"}, "config", "check", "-c", path)
	require.Equal(t, exitConfig, got.status)
	require.Empty(t, got.stdout)
	require.Equal(t, strings.ReplaceAll("warning: HEARTH_COLOUR is not a variable of hearth (`hearth config env` lists them)\n"+
		`HEARTH_REDIS_DB: redis.db: must be a whole number
redis.addrs: is required: host:port of Redis
mysql.dsn: is required: user:password@tcp(host:3306)/database
FILE:2:3: http.adr: unknown key; http has addr, internal_addr, allowed_origins, trusted_proxies
     2 |   adr: …
       |   ^
FILE:4:20: auth.jwt_hmac_secret: has 8 bytes, needs at least 32; `+"`hearth config init`"+` makes a fresh one
     4 |   jwt_hmac_secret: ***
       |                    ^
FILE:6:10: log.level: must be trace, debug, info, warn or error
     6 |   level: loud
       |          ^
`, "FILE", path), got.stderr)
}

func TestServeRefusesWhatConfigCheckRefuses(t *testing.T) {
	t.Parallel()
	got := hearth(t, []string{"HEARTH_AUTH_JWT_HMAC_SECRET=changeme"}, "serve")
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stderr, "auth.jwt_hmac_secret: has 8 bytes")

	got = hearth(t, servable(), "serve", "-c", filepath.Join(t.TempDir(), "none.yaml"))
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stderr, "none.yaml: cannot be read")
}

func TestConfigPrintHidesSecrets(t *testing.T) {
	t.Parallel()
	got := hearth(t, append(servable(), "HEARTH_REDIS_DB=7"), "config", "print")
	require.Equal(t, exitOK, got.status)
	require.Contains(t, got.stdout, "db: 7\n")
	require.Contains(t, got.stdout, "dsn: \"***\"\n")
	require.NotContains(t, got.stdout, testSecret)
	require.NotContains(t, got.stdout, "hunter2")
}

func TestConfigEnvListsEveryVariable(t *testing.T) {
	t.Parallel()
	got := hearth(t, nil, "config", "env")
	require.Equal(t, exitOK, got.status)
	require.Contains(t, got.stdout, "HEARTH_HTTP_ADDR=:8080\n    host:port of")
	for _, v := range configs.EnvNames() {
		require.Contains(t, got.stdout, v.Name+"=")
	}
}

func TestKeysNewPrintsAKeyAndTheLineThatKnowsIt(t *testing.T) {
	t.Parallel()
	got := hearth(t, nil, "keys", "new", "--id", "shop")
	require.Equal(t, exitOK, got.status)
	m := regexp.MustCompile(`^key    (hk_\S{43})\nline   (shop:[0-9a-f]{64})\n$`).FindStringSubmatch(got.stdout)
	require.Len(t, m, 3, got.stdout)
	sum := sha256.Sum256([]byte(m[1]))
	require.Equal(t, "shop:"+hex.EncodeToString(sum[:]), m[2])

	c, _, err := configs.Load("", []string{"HEARTH_AUTH_API_KEYS=" + m[2]})
	require.NoError(t, err)
	keys, err := c.Auth.Keys()
	require.NoError(t, err)
	require.Equal(t, []configs.APIKey{{ID: "shop", SHA256: sum}}, keys)
}

func TestTokenNewIsWhatTokenCheckTakes(t *testing.T) {
	t.Parallel()
	made := hearth(t, servable(), "token", "new", "-u", "alice", "--name", "Alice", "--device", "ios", "--ttl", "1h")
	require.Equal(t, exitOK, made.status, made.stderr)
	token := strings.TrimSpace(made.stdout)
	require.Equal(t, 2, strings.Count(token, "."))

	got := hearth(t, servable(), "token", "check", token)
	require.Equal(t, exitOK, got.status, got.stderr)
	require.Regexp(t, `^user      alice\nname      "Alice"\ndevice    "ios"\nexpires   \S+Z \(in (1h0m0s|59m\d+s)\)\n$`, got.stdout)
}

func TestTokenReadsTheSecretFromTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	require.NoError(t, os.WriteFile(path, []byte("auth: {jwt_hmac_secret: "+testSecret+"}\n"), 0o600))
	made := hearth(t, nil, "token", "new", "-u", "alice", "-c", path)
	require.Equal(t, exitOK, made.status, made.stderr)
	require.Equal(t, exitOK, hearth(t, servable(), "token", "check", strings.TrimSpace(made.stdout)).status)
}

func TestTokenNeedsTheSecret(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"token", "new", "-u", "alice"}, {"token", "check", "x.y.z"}} {
		got := hearth(t, nil, args...)
		require.Equal(t, exitConfig, got.status)
		require.Contains(t, got.stderr, "auth.jwt_hmac_secret: is required")
	}
}

func TestTokenCheckRefuses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		require.NoError(t, err)
		return token
	}
	secret := []byte(testSecret)
	for name, tc := range map[string]struct{ token, want string }{
		"another secret":   {sign(jwt.SigningMethodHS256, []byte("x"), jwt.MapClaims{"sub": "alice", "exp": now.Add(time.Hour).Unix()}), "not signed with"},
		"another method":   {sign(jwt.SigningMethodHS512, secret, jwt.MapClaims{"sub": "alice", "exp": now.Add(time.Hour).Unix()}), "not signed with"},
		"no signature":     {sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "alice", "exp": now.Add(time.Hour).Unix()}), "not signed with"},
		"an expired token": {sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice", "exp": now.Add(-time.Minute).Unix()}), "has expired"},
		"no expiry":        {sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice"}), "lacks exp"},
		"the future":       {sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice", "exp": now.Add(2 * time.Hour).Unix(), "iat": now.Add(time.Hour).Unix()}), "not valid yet"},
		"no user":          {sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"exp": now.Add(time.Hour).Unix()}), "sub"},
		"no token":         {"hello", "not a JWT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := hearth(t, servable(), "token", "check", tc.token)
			require.Equal(t, exitRuntime, got.status, got.stderr)
			require.Contains(t, got.stderr, "not accepted: ")
			require.Contains(t, got.stderr, tc.want)
			require.Empty(t, got.stdout)
		})
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
		case "/moved":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		case "/hangs":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		default:
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(func() { close(hang); server.Close() })

	require.Equal(t, result{}, hearth(t, nil, "healthcheck", server.URL+"/healthz"))
	for path, want := range map[string]string{
		"/readyz": "answered 503 Service Unavailable",
		"/moved":  "answered 302 Found",
		"/hangs":  "did not answer within 50ms",
	} {
		got := hearth(t, nil, "healthcheck", "--timeout", "50ms", server.URL+path)
		require.Equal(t, exitRuntime, got.status, path)
		require.Contains(t, got.stderr, want)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	require.Equal(t, exitRuntime, hearth(t, nil, "healthcheck", gone.URL).status)
}

func TestVersionIsALine(t *testing.T) {
	t.Parallel()
	got := hearth(t, nil, "version")
	require.Equal(t, exitOK, got.status)
	require.Regexp(t, `^hearth \S+ \(go\S+ \w+/\w+\)\n$`, got.stdout)
}

type codedError int

func (e codedError) Error() string { return "coded" }
func (e codedError) ExitCode() int { return int(e) }

func TestAFailureNeverExitsWithZero(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want int
	}{
		{context.Canceled, exitRuntime},
		{codedError(5), 5},
		{fmt.Errorf("verify: %w", codedError(5)), 5},
		{codedError(0), exitRuntime},
		{configs.Mistakes{}, exitConfig},
		{fmt.Errorf("start: %w", configs.Mistakes{{Message: "x"}}), exitConfig},
	} {
		p := &Process{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}
		require.Equal(t, tc.want, p.fail(tc.err), "%#v", tc.err)
	}
}

func TestMigrateNeedsMySQL(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"up", "status"} {
		got := hearth(t, nil, "migrate", what)
		require.Equal(t, exitConfig, got.status)
		require.Contains(t, got.stderr, "mysql.dsn: is required")

		got = hearth(t, []string{"HEARTH_MYSQL_DSN=u:hunter2@tcp(127.0.0.1:1)/hearth"}, "migrate", what)
		require.Equal(t, exitRuntime, got.status, "nothing listens on port 1")
		require.NotContains(t, got.stderr, "hunter2")
	}
}
