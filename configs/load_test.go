package configs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"hearth/configs"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// mistakes loads and returns what is wrong, with the file's folder cut off.
func mistakes(t *testing.T, yaml string, environ ...string) string {
	t.Helper()
	path := ""
	if yaml != "" {
		path = write(t, yaml)
	}
	_, _, err := configs.Load(path, environ)
	require.Error(t, err)
	require.ErrorAs(t, err, new(configs.Mistakes))
	return strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
}

func TestLoadWithoutAnythingGivesTheDefaults(t *testing.T) {
	t.Parallel()
	c, warnings, err := configs.Load("", nil)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Empty(t, cmp.Diff(configs.Default(), c))
}

func TestLoadPutsTheEnvironmentOverTheFileOverTheDefaults(t *testing.T) {
	t.Parallel()
	path := write(t, `
http:
  addr: ":1"
  allowed_origins: [https://a.example, "http://b.example:8080"]
  trusted_proxies: [10.0.0.0/8]
redis:
  addrs:
    - r1:6379
mysql:
  migrate: off
heat: {window: 90s, weights: {messages: 2}}
limits:
  user_rate: 0.5
ws:
`)
	c, warnings, err := configs.Load(path, []string{
		"PATH=/bin",
		"HEARTH_HTTP_ADDR=:2",
		"HEARTH_HTTP_INTERNAL_ADDR=",
		"HEARTH_REDIS_ADDRS=r2:6379,r3:6379",
		"HEARTH_REDIS_MODE=cluster",
		"HEARTH_AUTH_ALLOW_QUERY_TOKEN=true",
		"HEARTH_AUTH_JWT_HMAC_SECRET=with, commas = and ${HOME}",
		"HEARTH_LIMITS_GROUP_RATE=2.5",
		"HEARTH_WS_PING_INTERVAL=1m",
		"HEARTH_RETENTION_AGE=0",
		"HEARTH_TEST_REDIS=elsewhere",
		"HEARTH_TOKEN=of a client",
		"HEARTH_HTTP_ADR=:3",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"HEARTH_HTTP_ADR is not a variable of hearth (`hearth config env` lists them)"}, warnings)

	want := configs.Default()
	want.HTTP = configs.HTTP{
		Addr: ":2", AllowedOrigins: []string{"https://a.example", "http://b.example:8080"},
		TrustedProxies: []string{"10.0.0.0/8"}, // not added to the default
	}
	want.Redis.Addrs = []string{"r2:6379", "r3:6379"}
	want.Redis.Mode = "cluster"
	want.MySQL.Migrate = "off"
	want.Auth.AllowQueryToken = true
	want.Auth.JWTHMACSecret = "with, commas = and ${HOME}"
	want.Heat.Window = configs.Duration(90 * time.Second)
	want.Heat.Weights.Messages = 2
	want.Limits.UserRate = 0.5
	want.Limits.GroupRate = 2.5
	want.WS.PingInterval = configs.Duration(time.Minute)
	want.Retention.Age = 0
	require.Empty(t, cmp.Diff(want, c))
}

func TestLoadTellsAllMistakesAtOnceWithLineAndCaret(t *testing.T) {
	t.Parallel()
	got := mistakes(t, `http:
  adr: ":8080"
  allowed_origins: ["https://ok.example", "https://x.example/"]
redis:
  addrs: [localhost]
  db: 16.7
persist:
  interval: 5
colour: red
log:
  level: loud
  format:
`, "HEARTH_LIMITS_USER_RATE=many", "HEARTH_DRAIN_TIMEOUT=soon", "HEARTH_REDIS_PARTITIONS=", "HEARTH_DRAIN_LB_DELAY=-1s")
	want := `HEARTH_REDIS_PARTITIONS: redis.partitions: is set but empty: unset it, or give it a value
HEARTH_LIMITS_USER_RATE: limits.user_rate: must be a number
HEARTH_DRAIN_TIMEOUT: drain.timeout: "soon" is not a duration: write a number with its unit, such as 250ms, 10s or 5m
HEARTH_DRAIN_LB_DELAY: drain.lb_delay: must be at least 0s
hearth.yaml:2:3: http.adr: unknown key; http has addr, internal_addr, allowed_origins, trusted_proxies
     2 |   adr: …
       |   ^
hearth.yaml:3:43: http.allowed_origins[1]: must be scheme, host and port of a web page, such as https://chat.example.com
     3 |   allowed_origins: ["https://ok.example", "https://x.example/"]
       |                                           ^
hearth.yaml:5:11: redis.addrs[0]: must be host:port
     5 |   addrs: [localhost]
       |           ^
hearth.yaml:6:7: redis.db: must be a whole number
     6 |   db: 16.7
       |       ^
hearth.yaml:8:13: persist.interval: "5" is not a duration: write a number with its unit, such as 250ms, 10s or 5m
     8 |   interval: 5
       |             ^
hearth.yaml:9:1: colour: unknown section; there are node, http, auth, redis, mysql, persist, seq, heat, retention, rooms, direct, session, limits, uploads, moderation, ws, webhooks, console, demo, drain, log
     9 | colour: …
       | ^
hearth.yaml:11:10: log.level: must be trace, debug, info, warn or error
    11 |   level: loud
       |          ^
hearth.yaml:12:3: log.format: has no value: give it one ("" or [] for empty), or leave the key out
    12 |   format:
       |   ^`
	require.Empty(t, cmp.Diff(want, got))
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0123456789abcdef", 4)
	for name, tc := range map[string]struct {
		yaml string
		env  []string
		want string // part of the error
	}{
		"a file that is not YAML":              {yaml: "http:\n  addr: \"unclosed\nx", want: "hearth.yaml:2:9: "},
		"a list as the whole file":             {yaml: "- http\n", want: "must be a map"},
		"a text as a section":                  {yaml: "http: here\n", want: "http: must be a map"},
		"a key twice":                          {yaml: "http:\n  addr: :1\n  addr: :2\n", want: "hearth.yaml:3:3: "},
		"a second document":                    {yaml: "log: {level: info}\n---\nlog: {level: warn}\n", want: "second document"},
		"a map as a value":                     {yaml: "http:\n  addr: {a: b}\n", want: "http.addr: must be a text"},
		"a text for a list":                    {yaml: "redis:\n  addrs: a:1\n", want: "redis.addrs: must be a list of texts"},
		"a list with a null":                   {yaml: "redis:\n  addrs:\n    - \n", want: "redis.addrs: must be a list of texts"},
		"a number for a flag":                  {yaml: "rooms: {auto_create: 1}\n", want: "rooms.auto_create: must be true or false"},
		"a text for a number":                  {yaml: "redis: {db: one}\n", want: "redis.db: must be a whole number"},
		"a number too big":                     {yaml: "redis: {db: 99999999999999999999}\n", want: "redis.db: must be a whole number"},
		"a port too big":                       {env: []string{"HEARTH_HTTP_ADDR=:70000"}, want: "HEARTH_HTTP_ADDR: http.addr: must be host:port or :port"},
		"no address":                           {env: []string{"HEARTH_HTTP_ADDR="}, want: "http.addr: must be host:port or :port"},
		"one address twice":                    {env: []string{"HEARTH_HTTP_INTERNAL_ADDR=:8080"}, want: "http.internal_addr: is the same as http.addr"},
		"any origin":                           {env: []string{"HEARTH_HTTP_ALLOWED_ORIGINS=*"}, want: "http.allowed_origins[0]: must be scheme"},
		"a name that is no id":                 {env: []string{"HEARTH_NODE_NAME=a b"}, want: "node.name: must be an id"},
		"an API key in clear":                  {env: []string{"HEARTH_AUTH_API_KEYS=shop:hunter2"}, want: "auth.api_keys[0]: must be <id>:<SHA-256"},
		"an API key without id":                {env: []string{"HEARTH_AUTH_API_KEYS=:" + hash}, want: "auth.api_keys[0]: must be <id>:<SHA-256"},
		"a console key in clear":               {env: []string{"HEARTH_CONSOLE_KEYS=ops:hunter2"}, want: "console.keys[0]: must be <id>:<SHA-256"},
		"a console key id twice":               {env: []string{"HEARTH_CONSOLE_KEYS=a:" + hash + ",a:" + hash}, want: `console.keys[1]: has the id "a" of console.keys[0]`},
		"an API key id twice":                  {env: []string{"HEARTH_AUTH_API_KEYS=a:" + hash + ",a:" + hash}, want: `auth.api_keys[1]: has the id "a" of auth.api_keys[0]`},
		"a DSN without a database":             {env: []string{"HEARTH_MYSQL_DSN=u:p@tcp(h:3306)/"}, want: "mysql.dsn: must be user:password@tcp(host:3306)/database"},
		"sentinels without a master":           {env: []string{"HEARTH_REDIS_MODE=sentinel"}, want: "redis.sentinel_master: is required with mode sentinel"},
		"a master without sentinels":           {env: []string{"HEARTH_REDIS_SENTINEL_MASTER=m"}, want: "redis.sentinel_master: is only for mode sentinel"},
		"two standalone servers":               {env: []string{"HEARTH_REDIS_ADDRS=a:1,b:1"}, want: "redis.addrs: mode standalone takes one address"},
		"a database of a cluster":              {env: []string{"HEARTH_REDIS_MODE=cluster", "HEARTH_REDIS_DB=1"}, want: "redis.db: must be 0"},
		"a mode there is not":                  {env: []string{"HEARTH_REDIS_MODE=ring"}, want: "redis.mode: must be standalone, sentinel or cluster"},
		"an interval too long":                 {env: []string{"HEARTH_PERSIST_INTERVAL=1h"}, want: "persist.interval: must be at most 10s"},
		"more idle connections than any":       {env: []string{"HEARTH_MYSQL_MAX_IDLE=33"}, want: "mysql.max_idle: must be at most mysql.max_open"},
		"a weight there is not":                {yaml: "heat: {weights: {likes: 1}}\n", want: "heat.weights.likes: unknown key; heat.weights has speakers, messages, online"},
		"weights that are no map":              {yaml: "heat: {weights: 2}\n", want: "heat.weights: must be a map"},
		"a key beside weights":                 {yaml: "heat: {weight: 2}\n", want: "heat.weight: unknown key; heat has window, snapshot_ttl, weights"},
		"nothing that makes heat":              {env: []string{"HEARTH_HEAT_WEIGHTS_SPEAKERS=0"}, want: "heat.weights.speakers: is 0, and so are the other weights"},
		"a weight below zero":                  {env: []string{"HEARTH_HEAT_WEIGHTS_ONLINE=-1"}, want: "heat.weights.online: must be at least 0"},
		"a weight too great":                   {env: []string{"HEARTH_HEAT_WEIGHTS_MESSAGES=1001"}, want: "heat.weights.messages: must be at most 1000"},
		"a message longer than its frame":      {env: []string{"HEARTH_LIMITS_MESSAGE_BYTES=70000"}, want: "limits.message_bytes: must be at most limits.frame_bytes"},
		"a text longer than its message":       {env: []string{"HEARTH_LIMITS_TEXT_BYTES=13000"}, want: "limits.text_bytes: must be at most limits.message_bytes"},
		"a delay that takes all of the drain":  {env: []string{"HEARTH_DRAIN_LB_DELAY=30s"}, want: "drain.lb_delay: must be less than drain.timeout"},
		"a rate below zero":                    {env: []string{"HEARTH_LIMITS_USER_RATE=-1"}, want: "limits.user_rate: must be at least 0"},
		"a stranger limit below zero":          {env: []string{"HEARTH_DIRECT_STRANGER_LIMIT=-1"}, want: "direct.stranger_limit: must be at least 0"},
		"a stranger limit that is not counted": {env: []string{"HEARTH_DIRECT_STRANGER_LIMIT=1001"}, want: "direct.stranger_limit: must be at most 1000"},
		"an age too short to be tried":         {env: []string{"HEARTH_RETENTION_AGE=999ms"}, want: "retention.age: must be at least 1s"},
		"an age below zero":                    {env: []string{"HEARTH_RETENTION_AGE=-1s"}, want: "retention.age: must be at least 1s"},
		"a policy there is not":                {env: []string{"HEARTH_SESSION_POLICY=one"}, want: "session.policy: must be multi, replace or reject"},
		"a bucket of another make":             {env: []string{"HEARTH_UPLOADS_BUCKET_URL=gs://files"}, want: "uploads.bucket_url: must be s3://"},
		"a bucket without a name":              {env: []string{"HEARTH_UPLOADS_BUCKET_URL=s3://?region=x"}, want: "uploads.bucket_url: must be s3://"},
		"a folder as a bucket":                 {env: []string{"HEARTH_UPLOADS_BUCKET_URL=/srv/files"}, want: "uploads.bucket_url: must be s3://"},
		"no bucket to send to directly":        {env: []string{"HEARTH_UPLOADS_DIRECT=true"}, want: "uploads.direct: is only for an uploads.bucket_url"},
		"a type that is none":                  {env: []string{"HEARTH_UPLOADS_CONTENT_TYPES=image/png,png"}, want: "uploads.content_types[1]: must be a media type"},
		"a type with capitals":                 {env: []string{"HEARTH_UPLOADS_CONTENT_TYPES=Image/png"}, want: "uploads.content_types[0]: must be a media type"},
		"any picture":                          {env: []string{"HEARTH_UPLOADS_CONTENT_TYPES=text/plain; charset=utf-8"}, want: "uploads.content_types[0]: must be a media type"},
		"files of no bytes":                    {env: []string{"HEARTH_UPLOADS_MAX_BYTES=0"}, want: "uploads.max_bytes: must be at least 1"},
		"an upload URL for ever":               {env: []string{"HEARTH_UPLOADS_EXPIRY=48h"}, want: "uploads.expiry: must be at most 24h"},
		"a receiver that is no web address":    {env: []string{"HEARTH_WEBHOOKS_URL=app:8080/hooks"}, want: "webhooks.url: must be an http or https URL"},
		"a receiver without a host":            {env: []string{"HEARTH_WEBHOOKS_BEFORE_SEND_URL=https:///hooks"}, want: "webhooks.before_send_url: must be an http or https URL"},
		"a receiver and no secret":             {env: []string{"HEARTH_WEBHOOKS_URL=http://app/hooks"}, want: "webhooks.secret: is required with webhooks.url or"},
		"a gate and no secret":                 {env: []string{"HEARTH_WEBHOOKS_BEFORE_SEND_URL=http://app/ask"}, want: "webhooks.secret: is required with webhooks.url or"},
		"a webhook secret that is too short":   {env: []string{"HEARTH_WEBHOOKS_SECRET=whsec_c2hvcnQ="}, want: "webhooks.secret: secret 1 has 5 bytes, needs at least 24"},
		"a webhook secret that is not base64":  {env: []string{"HEARTH_WEBHOOKS_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,whsec_x y"}, want: "webhooks.secret: secret 2 must have base64"},
		"a hook slower than people wait":       {env: []string{"HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT=11s"}, want: "webhooks.before_send_timeout: must be at most 10s"},
		"a pause above the longest":            {env: []string{"HEARTH_WEBHOOKS_RETRY_MIN=2h"}, want: "webhooks.retry_min: must be at most 1h"},
		"a longest pause that is shorter":      {env: []string{"HEARTH_WEBHOOKS_RETRY_MIN=5s", "HEARTH_WEBHOOKS_RETRY_MAX=4s"}, want: "webhooks.retry_max: must be at least webhooks.retry_min"},
		"neither open nor closed":              {env: []string{"HEARTH_WEBHOOKS_BEFORE_SEND_FAILURE=ajar"}, want: "webhooks.before_send_failure: must be open or closed"},
		"nothing at once":                      {env: []string{"HEARTH_WEBHOOKS_BEFORE_SEND_CONCURRENCY=0"}, want: "webhooks.before_send_concurrency: must be at least 1"},
		"a jump that an old master could make": {env: []string{"HEARTH_SEQ_JUMP=1"}, want: "seq.jump: must be at least 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, mistakes(t, tc.yaml, tc.env...), tc.want)
		})
	}
}

func TestLoadNamesAFileItCannotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, _, err := configs.Load(path, nil)
	require.EqualError(t, err, path+": cannot be read: no such file or directory")
	_, _, err = configs.LoadServe(path, nil)
	require.EqualError(t, err, path+": cannot be read: no such file or directory")
}

func TestMistakesNeverShowSecrets(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]string{
		"no DSN":               "mysql:\n  dsn: 'root:hunter2-hunter2@/'\n",
		"wrong kind":           "redis:\n  password: [hunter2]\n",
		"folded":               "mysql:\n  dsn: >-\n    root:hunter2@nowhere\n",
		"on the next line":     "mysql:\n  dsn:\n    root:hunter2@nowhere\n",
		"misspelt key":         "redis:\n  pasword: hunter2\n",
		"misspelt section":     "mysqll: hunter2\n",
		"value of a section":   "mysql: root:hunter2@tcp(h:3306)/db\n",
		"syntax error":         "redis:\n  password: \"hunter2\n",
		"syntax error, inside": "redis:\n  password: >\n    hunter2\n   hunter2: x\n",
		"a webhook's":          "webhooks:\n  secret: whsec_hunter2\n",
		"in braces":            "redis: {password: hunter2, db: x}\n",
		"flow, misspelt":       "redis: {password: hunter2, dbb: 1}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NotContains(t, mistakes(t, yaml), "hunter2")
		})
	}
}

func TestCheckServe(t *testing.T) {
	t.Parallel()
	fit := configs.Default()
	fit.Auth.JWTHMACSecret = "q8Zr3vJm1xTn6bWc9sLd4fGh7kPy2aEu"
	fit.Redis.Addrs = []string{"redis:6379"}
	fit.MySQL.DSN = "hearth:pw@tcp(mysql:3306)/hearth"
	require.NoError(t, fit.CheckServe())
	require.Error(t, configs.Default().CheckServe())

	for name, tc := range map[string]struct {
		change func(*configs.Config)
		want   string
	}{
		"no secret":          {func(c *configs.Config) { c.Auth.JWTHMACSecret = "" }, "auth.jwt_hmac_secret: is required;"},
		"a short secret":     {func(c *configs.Config) { c.Auth.JWTHMACSecret = "q8Zr3vJm1xTn6bWc9sLd4fGh7kPy2aE" }, "auth.jwt_hmac_secret: has 31 bytes, needs at least 32;"},
		"a sample secret":    {func(c *configs.Config) { c.Auth.JWTHMACSecret = "ChangeMe-q8Zr3vJm1xTn6bWc9sLd4fGh7" }, "is a well-known sample secret;"},
		"one of tutorials":   {func(c *configs.Config) { c.Auth.JWTHMACSecret = "your-256-bit-secret-your-256-bit-secret" }, "is a well-known sample secret;"},
		"all the same":       {func(c *configs.Config) { c.Auth.JWTHMACSecret = configs.Secret(strings.Repeat("z", 40)) }, "repeats a few characters;"},
		"no Redis":           {func(c *configs.Config) { c.Redis.Addrs = nil }, "redis.addrs: is required"},
		"no MySQL":           {func(c *configs.Config) { c.MySQL.DSN = "" }, "mysql.dsn: is required"},
		"a malformed key":    {func(c *configs.Config) { c.Auth.APIKeys = []string{"x:y"} }, "auth.api_keys[0]: must be <id>:"},
		"a short second one": {func(c *configs.Config) { c.Uploads.Secret = "short" }, "uploads.secret: has 5 bytes, needs at least 32"},
		"a rule of any mode": {func(c *configs.Config) { c.Redis.DB = -1 }, "redis.db: must be at least 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fit
			tc.change(&c)
			require.ErrorContains(t, c.CheckServe(), tc.want)
		})
	}
}

func TestLoadServeShowsWhereTheSecretStandsAndNotWhatItIs(t *testing.T) {
	t.Parallel()
	path := write(t, "auth:\n  jwt_hmac_secret: hunter2\n")
	_, _, err := configs.LoadServe(path, []string{"HEARTH_MYSQL_DSN=u:p@tcp(h:3306)/hearth"})
	require.EqualError(t, err, "redis.addrs: is required: host:port of Redis\n"+
		path+":2:20: auth.jwt_hmac_secret: has 7 bytes, needs at least 32; `hearth config init` makes a fresh one\n"+
		"     2 |   jwt_hmac_secret: ***\n"+
		"       |                    ^")
}

func TestSecretHidesItself(t *testing.T) {
	t.Parallel()
	c := configs.Default()
	c.Redis.Password = "hunter2"
	c.Webhooks.URL = "https://bob:hunter2@app.example/hooks?token=hunter2"
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	for _, shown := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %q", c, c, c, c.Redis.Password), string(asJSON), string(c.Print()),
	} {
		require.NotContains(t, shown, "hunter2")
		require.Contains(t, shown, "***")
	}
	require.Equal(t, "hunter2", c.Redis.Password.Reveal())
	require.Contains(t, string(c.Print()), `"https://***@app.example/hooks?***"`)
	require.Equal(t, "https://bob:hunter2@app.example/hooks?token=hunter2", c.Webhooks.URL.Reveal())
	require.Empty(t, fmt.Sprint(configs.Secret("")))
}

func TestDurationIsWrittenShort(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 0, "20ms": 20 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute,
		"1m30s": 90 * time.Second, "1h": time.Hour, "1h5m": 65 * time.Minute, "1h0m5s": time.Hour + 5*time.Second, "-5m": -5 * time.Minute,
	} {
		require.Equal(t, want, configs.Duration(d).String())
		var back configs.Duration
		require.NoError(t, back.UnmarshalText([]byte(want)))
		require.Equal(t, d, back.D())
	}
}

func TestKeysReadsTheLines(t *testing.T) {
	t.Parallel()
	keys, err := configs.Auth{APIKeys: []string{"shop-1:" + strings.Repeat("Ab", 32)}}.Keys()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Equal(t, "shop-1", keys[0].ID)
	require.Equal(t, byte(0xab), keys[0].SHA256[31])
}

func TestNewNodeNameIsAnIDAndNew(t *testing.T) {
	t.Parallel()
	a, b := configs.NewNodeName(), configs.NewNodeName()
	require.NotEqual(t, a, b)
	_, _, err := configs.Load("", []string{"HEARTH_NODE_NAME=" + a})
	require.NoError(t, err)
}
