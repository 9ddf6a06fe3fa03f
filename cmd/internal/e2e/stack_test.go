package e2e

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"hearth/domain/testserver"
)

const (
	jwtSecret     = "the-secret-of-the-end-to-end-tests-is-long-enough"
	apiKey        = "hk_key-of-the-app-server-of-the-tests"
	apiKeyID      = "backend"
	redisPassword = "password-of-redis-in-the-tests"
	mysqlPassword = "password-of-mysql-in-the-tests"
)

// setup is what a test wants; the zero value is one instance on a Redis of its own and a fresh database.
type setup struct {
	instances int
	env       map[string]string
	redis     []string // arguments of redis-server
	together  bool     // all instances start at the same time
	ownMySQL  bool     // a mariadbd of the test's own, to be frozen and killed

	redisVia func(addr string) string // gives the address by which hearth reaches Redis; nil: the straight one
}

// stack is a test's instances and the servers below them.
type stack struct {
	t         testing.TB
	redis     *testserver.Server
	mysql     *testserver.Server // nil unless the test has its own
	db        *sql.DB
	rdb       *redis.Client
	instances []*instance
	http      *http.Client
}

func newStack(t testing.TB, s setup) *stack {
	t.Helper()
	st := &stack{t: t, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}}
	t.Cleanup(st.http.CloseIdleConnections)
	dsn := st.startMySQL(s.ownMySQL)
	st.redis = testserver.StartRedis(t, append([]string{"--requirepass", redisPassword}, s.redis...)...)
	st.rdb = redis.NewClient(&redis.Options{Addr: st.redis.Addr(), Password: redisPassword})
	t.Cleanup(func() { _ = st.rdb.Close() })
	redisAddr := st.redis.Addr()
	if s.redisVia != nil {
		redisAddr = s.redisVia(redisAddr)
	}
	for n := range max(1, s.instances) {
		i := newInstance(t, fmt.Sprintf("i%d", n+1), st.environ(redisAddr, dsn, s.env))
		t.Cleanup(func() {
			i.end(slices.Concat(sharedSecrets, []string{jwtSecret, apiKey, redisPassword, mysqlPassword}))
		})
		st.instances = append(st.instances, i)
		if !s.together {
			i.up()
		}
	}
	if s.together {
		st.startTogether()
	}
	return st
}

// in is the stack for a subtest.
func (s *stack) in(t testing.TB) *stack {
	sub := *s
	sub.t = t
	return &sub
}

// startTogether starts all instances at once and waits until they are ready.
func (s *stack) startTogether() {
	s.t.Helper()
	for _, i := range s.instances {
		i.start()
	}
	for _, i := range s.instances {
		i.awaitReady()
	}
}

func (s *stack) environ(redisAddr, dsn string, more map[string]string) []string {
	sum := sha256.Sum256([]byte(apiKey))
	env := map[string]string{
		"HEARTH_REDIS_ADDRS": redisAddr, "HEARTH_REDIS_PASSWORD": redisPassword,
		"HEARTH_MYSQL_DSN":            dsn,
		"HEARTH_AUTH_JWT_HMAC_SECRET": jwtSecret,
		"HEARTH_AUTH_API_KEYS":        apiKeyID + ":" + hex.EncodeToString(sum[:]),
		"HEARTH_LIMITS_USER_RATE":     "0", "HEARTH_LIMITS_GROUP_RATE": "0", "HEARTH_LIMITS_CONNECTION_RATE": "0",
		// The machine may be so busy that a test's client falls behind; slow readers are another test's subject.
		"HEARTH_WS_QUEUE_FRAMES": "100000", "HEARTH_WS_QUEUE_BYTES": "100000000",
		"HEARTH_DRAIN_LB_DELAY": "100ms",
		"HEARTH_LOG_LEVEL":      "debug",
	}
	maps.Copy(env, more)
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// startMySQL makes a database and a user with a password for it, and returns that user's DSN.
func (s *stack) startMySQL(own bool) string {
	s.t.Helper()
	var root string
	if own {
		s.mysql = testserver.StartMySQL(s.t)
		root = s.mysql.DSN()
	} else {
		root = testserver.MySQL(s.t)
	}
	cfg, err := mysql.ParseDSN(root)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.db, err = sql.Open("mysql", root); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.db.Close() })
	cfg.User, cfg.Passwd = "of_"+cfg.DBName, mysqlPassword
	for _, statement := range []string{
		fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", cfg.User, cfg.Passwd),
		fmt.Sprintf("GRANT ALL ON %s.* TO '%s'@'%%'", cfg.DBName, cfg.User),
	} {
		if _, err := s.db.Exec(statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	return cfg.FormatDSN()
}

// token is a user's, good for an hour.
func token(user string) string { return tokenUntil(user, time.Now().Add(time.Hour)) }

func tokenUntil(user string, expires time.Time) string {
	return signed(jwt.SigningMethodHS256, []byte(jwtSecret), jwt.MapClaims{"sub": user, "exp": expires.Unix()})
}

// tokenFrom is a token of a login on a class of devices.
func tokenFrom(user, device string) string {
	claims := jwt.MapClaims{"sub": user, "device": device, "exp": time.Now().Add(time.Hour).Unix()}
	return signed(jwt.SigningMethodHS256, []byte(jwtSecret), claims)
}

func signed(method jwt.SigningMethod, secret any, claims jwt.MapClaims) string {
	token, err := jwt.NewWithClaims(method, claims).SignedString(secret)
	if err != nil {
		panic(err) // only for a secret that does not fit the method
	}
	return token
}

// row is a message in MySQL.
type row struct {
	Group    string
	Seq      int64
	From     string
	ClientID string
	Body     string
}

// rows are all messages in MySQL, by group and seq.
func (s *stack) rows() []row {
	s.t.Helper()
	rows, err := s.queryRows()
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

func (s *stack) queryRows() ([]row, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := s.db.QueryContext(ctx,
		"SELECT group_id, msg_seq, from_account, client_id, msg_body FROM group_msg ORDER BY group_id, msg_seq")
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var rows []row
	for found.Next() {
		var r row
		if err := found.Scan(&r.Group, &r.Seq, &r.From, &r.ClientID, &r.Body); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

func (s *stack) countRows() int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg").Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// count is the number that a query of MySQL answers.
func (s *stack) count(query string) (n int) {
	s.t.Helper()
	if err := s.db.QueryRowContext(s.t.Context(), query).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// awaitRows waits until MySQL has as many messages.
func (s *stack) awaitRows(within time.Duration, want int) {
	s.t.Helper()
	await(s.t, within, fmt.Sprintf("%d rows in MySQL", want), func() (bool, any) {
		n := s.countRows()
		return n >= want, n
	})
}

// deleteKeys deletes the keys of Redis that match and returns how many there were.
func (s *stack) deleteKeys(pattern string) int {
	s.t.Helper()
	keys, err := s.rdb.Keys(s.t.Context(), pattern).Result()
	if err == nil && len(keys) > 0 {
		err = s.rdb.Del(s.t.Context(), keys...).Err()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return len(keys)
}

// awaitPersisted waits until no log entry is left in Redis: every accepted message is in MySQL.
func (s *stack) awaitPersisted(within time.Duration) {
	s.t.Helper()
	await(s.t, within, "the write-behind log is empty", func() (bool, any) {
		n, err := s.backlog()
		return err == nil && n == 0, fmt.Sprint(n, " entries, ", err)
	})
}

func (s *stack) backlog() (n int64, err error) {
	keys, err := s.rdb.Keys(s.t.Context(), "hearth:{*}:log:*").Result()
	for _, key := range keys {
		length, err := s.rdb.XLen(s.t.Context(), key).Result()
		if err != nil {
			return 0, err
		}
		n += length
	}
	return n, err
}
