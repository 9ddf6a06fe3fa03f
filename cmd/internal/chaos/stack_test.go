package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"hearth/domain/testserver"
)

const (
	jwtSecret = "the-secret-of-the-chaos-tests-is-long-enough"
	apiKey    = "hk_key-of-the-app-server-of-the-chaos-tests"
)

// setup is what a fault needs below the instances; the zero value is one Redis with its append-only file and a fresh
// database on a MariaDB that others use too.
type setup struct {
	replica  bool // a replica of Redis, linked through a proxy
	sentinel bool // with a replica; instances ask the sentinels
	cluster  bool // three masters with a replica each
	ownMySQL bool // a MariaDB to be frozen and killed
	env      map[string]string
	binary   func(t testing.TB, instance int) string // nil: the plain one
	broken   bool                                    // what cannot come back is not waited for

	readElsewhere bool // nobody reads on the first instance
}

// stack is hearth's instances and everything below them. Each reaches Redis and MySQL through proxies of its own, except
// where Redis tells its addresses itself.
type stack struct {
	t     testing.TB
	setup setup
	dsn   *mysql.Config
	mysql *testserver.Server // nil unless it is the test's own
	db    *sql.DB

	redis   *testserver.Server // the master
	replica *testserver.Server // nil unless asked for
	link    *testserver.Proxy  // from the replica to the master
	nodes   []*testserver.Server
	env     map[string]string // that leads to Redis, where no proxy does

	instances []*instance
	http      *http.Client
}

// instance is a `hearth serve` with its ways to the servers.
type instance struct {
	*testserver.Server
	name  string
	redis *testserver.Proxy // nil with sentinels and clusters
	mysql *testserver.Proxy
}

func (i *instance) ws() string { return "ws://" + i.Addr() + "/v1/ws" }

// appendOnly are the arguments of a Redis that survives a kill -9, and loses a second with its machine. A replica need
// not wait for others.
var appendOnly = []string{"--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"}

func newStack(t testing.TB, s setup, instances int) *stack {
	t.Helper()
	st := &stack{t: t, setup: s, http: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
	t.Cleanup(st.http.CloseIdleConnections)
	st.startMySQL()
	switch {
	case s.cluster:
		st.startCluster()
	case s.sentinel:
		st.startSentinels()
	default:
		st.redis = testserver.StartRedis(t, appendOnly...)
		if s.replica {
			st.startReplica()
		}
	}
	for n := range instances {
		st.instances = append(st.instances, st.startInstance(n))
	}
	return st
}

func (s *stack) startMySQL() {
	s.t.Helper()
	dsn := ""
	if s.setup.ownMySQL {
		s.mysql = testserver.StartMySQL(s.t)
		dsn = s.mysql.DSN()
	} else {
		dsn = testserver.MySQL(s.t)
	}
	var err error
	if s.dsn, err = mysql.ParseDSN(dsn); err != nil {
		s.t.Fatal(err)
	}
	if s.db, err = sql.Open("mysql", dsn); err != nil {
		s.t.Fatal(err)
	}
	s.db.SetMaxIdleConns(8)
	s.t.Cleanup(func() { _ = s.db.Close() })
}

func (s *stack) startInstance(n int) *instance {
	s.t.Helper()
	i := &instance{name: fmt.Sprintf("i%d", n+1), mysql: testserver.NewProxy(s.t, s.dsn.Addr)}
	dsn := s.dsn.Clone()
	dsn.Addr = i.mysql.Addr()
	sum := sha256.Sum256([]byte(apiKey))
	env := map[string]string{
		"HEARTH_NODE_NAME": i.name, "HEARTH_HTTP_INTERNAL_ADDR": "",
		"HEARTH_MYSQL_DSN":            dsn.FormatDSN(),
		"HEARTH_AUTH_JWT_HMAC_SECRET": jwtSecret,
		"HEARTH_AUTH_API_KEYS":        "backend:" + hex.EncodeToString(sum[:]),
		"HEARTH_LIMITS_USER_RATE":     "0", "HEARTH_LIMITS_GROUP_RATE": "0", "HEARTH_LIMITS_CONNECTION_RATE": "0",
		"HEARTH_LOG_LEVEL": "info",
		"PATH":             os.Getenv("PATH"),
	}
	if s.env == nil {
		i.redis = testserver.NewProxy(s.t, s.redis.Addr())
		env["HEARTH_REDIS_ADDRS"] = i.redis.Addr()
	}
	maps.Copy(env, s.env)
	maps.Copy(env, s.setup.env)
	file := ""
	if s.setup.binary != nil {
		file = s.setup.binary(s.t, n)
	} else {
		file = builds.build(s.t, "hearth")
	}
	environ := func(port int) []string {
		list := []string{fmt.Sprintf("HEARTH_HTTP_ADDR=127.0.0.1:%d", port)}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			list = append(list, name+"="+env[name])
		}
		return list
	}
	var err error
	if i.Server, err = testserver.LaunchProgram(file, s.t.TempDir(), []string{"serve"}, environ, ready); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.end(i) })
	return i
}

// ready is nil once an instance says so.
func ready(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", response.Status)
	}
	return nil
}

// end kills an instance and looks for a crash in its log.
func (s *stack) end(i *instance) {
	if err := i.Kill(); err != nil {
		s.t.Error(err)
	}
	log, _ := os.ReadFile(i.Log()) // no file: nothing was said
	for _, word := range []string{"panic:", "fatal error:"} {
		if bytes.Contains(log, []byte(word)) {
			s.t.Errorf("%q in the log of %s", word, i.name)
		}
	}
	if dir := os.Getenv("HEARTH_CHAOS_LOGS"); dir != "" {
		_ = os.WriteFile(fmt.Sprintf("%s/%s-%s.log", dir, pathOf(s.t.Name()), i.name), log, 0o600)
	}
}

func pathOf(name string) string {
	return string(bytes.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '_'
		}
		return r
	}, []byte(name)))
}

// client is one of a Redis.
func (s *stack) client(server *testserver.Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: 5 * time.Second})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// token is a user's, good for longer than any instance's clock is wrong.
func token(user string) string {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(24 * time.Hour).Unix()}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		panic(err) // only for a secret that does not fit the method
	}
	return signed
}

// call asks an instance over HTTP as the app server.
func (s *stack) call(ctx context.Context, i *instance, method, path string, body, out any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+i.Addr()+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// createGroup makes a group, again and again until that works.
func (s *stack) createGroup(group, typ string, members []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body := map[string]any{"group": group, "type": typ, "name": group, "owner": members[0]}
	if typ == "group" {
		body["members"] = members
	}
	return s.call(ctx, s.instances[0], http.MethodPost, "/v1/groups", body, nil)
}

// ranking is the list of hot groups.
func (s *stack) ranking(ctx context.Context) (*Ranking, error) {
	var page struct {
		TimeMS   int64 `json:"time_ms"`
		WindowMS int64 `json:"window_ms"`
		Groups   []struct {
			Group  string `json:"group"`
			Heat   int    `json:"heat"`
			LastMS int64  `json:"last_message_ms"`
		}
	}
	if err := s.call(ctx, s.instances[0], http.MethodGet, "/v1/groups/hot?type=all&limit=200", nil, &page); err != nil {
		return nil, err
	}
	r := &Ranking{TimeMS: page.TimeMS, WindowMS: page.WindowMS}
	for _, g := range page.Groups {
		r.Entries = append(r.Entries, Entry(g))
	}
	return r, nil
}

func (s *stack) rows(ctx context.Context) (rows []Row, err error) {
	err = s.each(ctx, "SELECT group_id, from_account, msg_body, msg_seq, msg_time FROM group_msg", func(scan func(...any) error) error {
		var r Row
		var text []byte
		err := scan(&r.Group, &r.User, &text, &r.Seq, &r.TimeMS)
		if err == nil {
			var b body
			err = json.Unmarshal(text, &b)
			r.ClientID = b.id()
		}
		rows = append(rows, r)
		return err
	})
	return rows, err
}

func (s *stack) holes(ctx context.Context) (holes []Hole, err error) {
	err = s.each(ctx, "SELECT group_id, from_seq, to_seq FROM seq_hole", func(scan func(...any) error) error {
		var h Hole
		err := scan(&h.Group, &h.From, &h.To)
		holes = append(holes, h)
		return err
	})
	return holes, err
}

func (s *stack) each(ctx context.Context, query string, take func(scan func(...any) error) error) error {
	found, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := take(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// countRows is how many messages are stored.
func (s *stack) countRows(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg").Scan(&n)
	return n, err
}

// deadlocks are those that MariaDB has counted since it started.
func (s *stack) deadlocks(ctx context.Context) (n int, err error) {
	var name string
	err = s.db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").Scan(&name, &n)
	return n, err
}
