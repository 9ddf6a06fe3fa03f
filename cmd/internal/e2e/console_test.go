package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hearth/domain"
	"hearth/transport/console"
)

const (
	adminKey   = "hk_key-of-the-operators-of-the-tests"
	adminKeyID = "ops"
)

// withConsole are the settings of instances that have one.
func withConsole() map[string]string {
	sum := sha256.Sum256([]byte(adminKey))
	return map[string]string{"HEARTH_CONSOLE_KEYS": adminKeyID + ":" + hex.EncodeToString(sum[:])}
}

// operator talks to the console of instance n.
func (s *stack) operator(n int) *caller {
	return &caller{s.t, s.http, "http://" + s.instances[n].internal, adminKey}
}

func (c *caller) overview() (o console.Overview) {
	c.t.Helper()
	c.get("/console/api/overview").ok(http.StatusOK, &o)
	return o
}

// awaitOverview waits for one that meets a condition.
func (c *caller) awaitOverview(what string, met func(o console.Overview) bool) (o console.Overview) {
	c.t.Helper()
	await(c.t, 2*patience, what, func() (bool, any) {
		o = c.overview()
		shown, _ := json.Marshal(o) // for the failure
		return met(o), string(shown)
	})
	return o
}

func instanceNames(o console.Overview) (list []string) {
	for _, i := range o.Instances {
		list = append(list, i.Name)
	}
	return list
}

func atLeast(v *int64, want int64) bool { return v != nil && *v >= want }

func is(v *int64, want int64) bool { return v != nil && *v == want }

// TestConsoleShowsTheFleet: either instance shows both, at the rates of a known load; what MySQL has not got while it is
// frozen, and that it is frozen; and soon after a kill -9 that one is gone.
func TestConsoleShowsTheFleet(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, ownMySQL: true, env: withConsole()})
	users := names("u", 4) // turn by turn on the two instances
	s.createGroup("room", "tea", users...)
	s.createGroup("room", "milk", users...)
	for n := range s.instances {
		o := s.operator(n).awaitOverview("both instances are shown, ready, for longer than rates look back", func(o console.Overview) bool {
			return slices.Equal(instanceNames(o), []string{"i1", "i2"}) && !slices.ContainsFunc(o.Instances, func(i domain.InstanceStatus) bool {
				return !i.Ready || i.SeenMS-i.StartedMS < 12_000
			})
		})
		if o.Instance != s.instances[n].name || !o.Stores["redis"].OK || !o.Stores["mysql"].OK || !is(o.Totals.Backlog, 0) || !is(o.Totals.DeadLetters, 0) {
			t.Errorf("overview of a quiet system: got %+v", o)
		}
	}

	l := startLoad(s, users, []string{"tea", "milk"})
	l.awaitMore(500)
	o := s.operator(1).awaitOverview("the load is seen", func(o console.Overview) bool {
		return is(o.Totals.Connections, 4) && is(o.Totals.Users, 4) && o.Totals.MessagesPerS != nil && *o.Totals.MessagesPerS > 0 &&
			o.Totals.P99MS != nil && o.Totals.RowsPerS != nil && *o.Totals.RowsPerS > 0
	})
	if o.Hot == nil || len(o.Hot.Groups) != 2 || o.Hot.Groups[0].Heat != 4 {
		t.Errorf("hot rooms: got %+v, want two with four speakers", o.Hot)
	}

	t.Run("without MySQL", func(t *testing.T) { s.in(t).showsTheBacklog(l) })
	acks := l.stop()
	t.Run("rates", func(t *testing.T) { s.in(t).showsTheRatesOf(acks) })

	s.instances[1].kill()
	o = s.operator(0).awaitOverview("the killed instance is gone", func(o console.Overview) bool {
		return slices.Equal(instanceNames(o), []string{"i1"})
	})
	if got, want := *o.Totals.Connections, *o.Instances[0].Connections; got != want {
		t.Errorf("connections in all: got %d, want those of the one that lives: %d", got, want)
	}
	var chart domain.FleetRates
	s.operator(0).get("/console/api/rates").ok(http.StatusOK, &chart)
	if len(chart.Instances) != 2 {
		t.Errorf("instances in the chart: got %d, want the dead one, too", len(chart.Instances))
	}
}

func (s *stack) showsTheBacklog(l *load) {
	if err := s.mysql.Pause(); err != nil {
		s.t.Fatal(err)
	}
	o := s.operator(0).awaitOverview("the backlog rises, and grows old", func(o console.Overview) bool {
		return atLeast(o.Totals.Backlog, 50) && atLeast(o.Totals.LagMS, 2000) && !o.Stores["mysql"].OK
	})
	if o.Stores["mysql"].SinceMS == 0 || o.Stores["mysql"].Hint == "" || !o.Stores["redis"].OK {
		s.t.Errorf("stores while MySQL is frozen: got %+v", o.Stores)
	}
	first := *o.Totals.Backlog
	l.awaitMore(200)
	s.operator(1).awaitOverview("it goes on rising", func(o console.Overview) bool { return atLeast(o.Totals.Backlog, first+200) })
	var g domain.GroupInspection
	s.operator(0).get("/console/api/groups/tea").ok(http.StatusOK, &g)
	if g.MySQL != nil || g.Redis == nil || g.Unwritten == nil || g.Unwritten.Count < 50 {
		s.t.Errorf("inspection while MySQL is frozen: got %+v", g)
	}
	if err := s.mysql.Resume(); err != nil {
		s.t.Fatal(err)
	}
	l.awaitMore(100)
	l.stop()
	s.operator(0).awaitOverview("everything is written", func(o console.Overview) bool {
		return is(o.Totals.Backlog, 0) && is(o.Totals.LagMS, 0) && o.Stores["mysql"].OK
	})
}

// showsTheRatesOf: what the chart adds up to is what was acknowledged.
func (s *stack) showsTheRatesOf(acks []ack) {
	of := make(map[string]float64)
	for _, a := range acks {
		of[a.Group]++
	}
	for group, want := range of {
		await(s.t, patience, "the rates of "+group+" add up to its messages", func() (bool, any) {
			var chart domain.GroupRates
			s.operator(1).get("/console/api/rates?group="+group).ok(http.StatusOK, &chart)
			got := 0.0
			for _, rate := range chart.Messages {
				got += rate * float64(chart.StepMS) / 1000
			}
			return math.Round(got) == want, fmt.Sprint(got, ", want ", want)
		})
	}
	// A status is of ten seconds: each message is in several of them, and all together count it once, but for where the
	// interval is not quite two seconds.
	await(s.t, patience, "the rates of the instances add up to about all messages", func() (bool, any) {
		var chart domain.FleetRates
		s.operator(0).get("/console/api/rates").ok(http.StatusOK, &chart)
		got := 0.0
		for _, i := range chart.Instances {
			for _, rate := range i.Messages {
				if rate != nil {
					got += *rate * float64(chart.StepMS) / 1000
				}
			}
		}
		want := float64(len(acks))
		return len(chart.Instances) == 2 && got > 0.7*want && got < 1.3*want, fmt.Sprint(got, ", want ", want)
	})
}

// TestConsoleInspects: what it shows of a group is what the two servers have, holes included; and of a user where he is
// and how far he has read.
func TestConsoleInspects(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: withConsole()})
	s.createGroup("group", "g", "ann", "bob")
	ann := s.connect(0, "ann")
	for n := range 5 {
		ann.send("g", say("before", n))
	}
	s.awaitRows(patience, 5)
	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	var after sent
	await(t, patience, "sending goes on in a new generation", func() (bool, any) {
		err := ann.try("send", fields{"group": "g", "body": textBody(say("after"))}, &after)
		return err == nil, err
	})
	s.awaitPersisted(patience)
	for n := range s.instances {
		s.operator(n).awaitOverview("both instances have told Redis again that they live", func(o console.Overview) bool {
			return slices.Equal(instanceNames(o), []string{"i1", "i2"})
		})
	}

	var g domain.GroupInspection
	await(t, patience, "nothing is unwritten", func() (bool, any) {
		s.operator(1).get("/console/api/groups/g").ok(http.StatusOK, &g)
		return g.Unwritten == nil && g.Redis != nil, g
	})
	want := domain.Holes{{From: 6, To: after.Seq - 1, Reason: domain.HoleLost}}
	if !slices.Equal(g.Holes, want) {
		t.Errorf("holes: got %v, want %v", g.Holes, want)
	}
	if g.Redis.MaxSeq != after.Seq || g.Redis.PersistedSeq != after.Seq || g.Redis.RecentTo != after.Seq || g.Redis.RecentCount == 0 {
		t.Errorf("Redis: got %+v, want all up to %d", *g.Redis, after.Seq)
	}
	if g.MySQL.MinSeq != 1 || g.MySQL.MaxSeq != after.Seq || !is(g.MySQL.Count, 6) {
		t.Errorf("MySQL: got %+v, want 6 rows from 1 to %d", *g.MySQL, after.Seq)
	}
	if g.Name != "g" || g.Type != domain.Private || *g.Members != 2 || *g.Heat != 1 || g.Generation < 2 {
		t.Errorf("the group: got %+v", g)
	}

	var u domain.UserInspection
	await(t, patience, "ann is connected to i1", func() (bool, any) { // Redis has been told of her again
		s.operator(0).get("/console/api/users/ann").ok(http.StatusOK, &u)
		return u.Online && len(u.Connections) == 1 && u.Connections[0].Instance == "i1", u
	})
	u = domain.UserInspection{}
	s.operator(0).get("/console/api/users/bob").ok(http.StatusOK, &u)
	if u.Online || len(u.Groups) != 1 || u.Groups[0].Unread != 6 || u.Groups[0].MaxSeq != after.Seq || u.Groups[0].Role != domain.Member {
		t.Errorf("bob: got %+v, want 6 unread in g", u)
	}
	s.operator(0).get("/console/api/groups/nowhere").refused(http.StatusNotFound, "not_found", "")
	s.operator(0).get("/console/api/users/nobody").refused(http.StatusNotFound, "not_found", "")
	t.Run("command line", func(t *testing.T) { s.in(t).showsInTheTerminal(after.Seq) })
}

// showsInTheTerminal: hearth top and hearth inspect say the same.
func (s *stack) showsInTheTerminal(last int64) {
	url := "--url=http://" + s.instances[1].internal
	key := "--key=" + adminKey
	var o console.Overview
	if err := json.Unmarshal([]byte(s.does(0, []string{"top", "--once", "--json", url, key})), &o); err != nil || len(o.Instances) != 2 {
		s.t.Errorf("top --once --json: got %+v (%v), want both instances", o, err)
	}
	s.does(0, []string{"top", url, key}, "seen from i2  redis ok  mysql ok", "rank   heat  online  room", "  g\n")
	s.does(0, []string{"inspect", "group", "g", url, key},
		fmt.Sprintf("rows 1 to %d (6)", last), fmt.Sprintf("hole       6 to %d", last-1), "members    2, owner -")
	s.does(0, []string{"inspect", "user", "bob", url, key}, "bob  offline", fmt.Sprintf("  g  member, read 0 of %d, 6 unread", last))
	s.does(1, []string{"inspect", "user", "nobody", url, key}, "nobody of this id")
	s.does(1, []string{"top", url, "--key=wrong"}, "does not know the key")
	s.does(1, []string{"top", "--url=http://" + s.instances[1].addr, key}, "there is no console at")
}

// TestConsoleTakesPart: an operator follows a room, writes there as the system and takes a message back; retries dead letters;
// and all of it is in the log, without any text.
func TestConsoleTakesPart(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: withConsole()})
	s.createGroup("room", "tea", "ann", "evil")
	ann := s.connect(0, "ann")
	ann.do("subscribe", fields{"group": "tea"}, nil)
	ann.send("tea", say("first"))
	shown := s.watch(1, "/console/api/groups/tea/events")
	first := shown.next(t)
	if !strings.Contains(first, `"seq":1,`) || !strings.Contains(first, `"online":`) {
		t.Errorf("first page: got %s, want message 1", first)
	}

	var receipt sent
	s.operator(1).post("/console/api/groups/tea/messages", map[string]string{"text": say("closed at noon")}).ok(http.StatusOK, &receipt)
	push := ann.awaitPushes("tea", 2)[1]
	if push.From != "system" || push.Seq != receipt.Seq || !strings.Contains(string(push.raw), `"operator":"`+adminKeyID+`"`) {
		t.Errorf("push of what the operator wrote: got %s", push.raw)
	}
	await(t, patience, "the operator sees it, too", func() (bool, any) {
		page := shown.next(t)
		return strings.Contains(page, fmt.Sprintf(`"seq":%d,`, receipt.Seq)), page
	})
	s.operator(0).post("/console/api/groups/tea/recall", map[string]any{"seqs": []int64{1}}).ok(http.StatusOK, nil)
	ann.awaitEvent("recall")

	s.exec("CREATE TRIGGER no_evil BEFORE INSERT ON group_msg FOR EACH ROW " +
		"IF NEW.from_account = 'evil' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF")
	evil := s.connect(1, "evil")
	evil.send("tea", say("refused"))
	evil.send("tea", say("refused, too"))
	var dead struct {
		Letters []struct {
			Group, From, Reason string
			Seq, Bytes          int64
		}
	}
	await(t, patience, "two dead letters", func() (bool, any) {
		s.operator(0).get("/console/api/dead").ok(http.StatusOK, &dead)
		return len(dead.Letters) == 2, dead
	})
	if l := dead.Letters[0]; l.Group != "tea" || l.From != "evil" || l.Bytes == 0 || l.Reason == "" {
		t.Errorf("dead letter: got %+v", l)
	}
	var outcome struct{ Stored, Refused int }
	retry := map[string]any{"group": "tea", "seq": dead.Letters[0].Seq}
	s.operator(0).post("/console/api/dead/retry", retry).ok(http.StatusOK, &outcome)
	if outcome.Stored != 0 || outcome.Refused != 1 {
		t.Errorf("retry while the trigger is there: got %+v", outcome)
	}
	s.exec("DROP TRIGGER no_evil")
	s.operator(1).post("/console/api/dead/retry", map[string]any{"group": "tea"}).ok(http.StatusOK, &outcome)
	if outcome.Stored != 2 || outcome.Refused != 0 {
		t.Errorf("retry of all: got %+v", outcome)
	}
	ann.awaitEvent("resync")
	s.awaitRows(patience, 4)
	var config struct{ Config string }
	a := s.operator(0).get("/console/api/config")
	a.ok(http.StatusOK, &config)
	if !strings.Contains(config.Config, `jwt_hmac_secret: "***"`) || strings.Contains(config.Config, mysqlPassword) {
		t.Errorf("configuration: got %s", config.Config)
	}
	for n, line := range map[int]string{0: "console recalled a message", 1: "console sent a message"} {
		log := string(s.instances[n].logged())
		if !strings.Contains(log, line) || !strings.Contains(log, `"key":"`+adminKeyID+`"`) {
			t.Errorf("log of %s has no %q", s.instances[n].name, line)
		}
	}
	s.instances[1].stop() // with the stream open
	if err := shown.rest(); err != nil {
		t.Errorf("the stream's end: got %v, want an orderly one", err)
	}
}

// stream is server-sent events as they come.
type stream struct {
	response *http.Response
	lines    *bufio.Scanner
}

func (s *stack) watch(n int, path string) *stream {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*patience)
	s.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.instances[n].internal+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+adminKey)
	response, err := (&http.Client{Transport: s.http.Transport}).Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %v %v", path, response, err)
	}
	s.t.Cleanup(func() { _ = response.Body.Close() })
	return &stream{response, bufio.NewScanner(response.Body)}
}

// next is the data of the next event.
func (s *stream) next(t testing.TB) string {
	t.Helper()
	for s.lines.Scan() {
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			return data
		}
	}
	t.Fatalf("the stream has ended: %v", s.lines.Err())
	return ""
}

// rest reads to the end.
func (s *stream) rest() error {
	for s.lines.Scan() {
	}
	return s.lines.Err()
}

// TestConsoleDoor: without keys there is no console; with them a session of one instance holds on the other and nobody else's
// page can use it.
func TestConsoleDoor(t *testing.T) {
	t.Parallel()
	off := newStack(t, setup{})
	for _, base := range []string{off.instances[0].addr, off.instances[0].internal} {
		for _, path := range []string{"/console", "/console/api/overview", "/console/api/login"} {
			a := (&caller{t, off.http, "http://" + base, adminKey}).get(path)
			if a.Status != http.StatusNotFound {
				t.Errorf("%s of %s without keys: got %d, want 404", path, base, a.Status)
			}
		}
	}

	s := newStack(t, setup{instances: 2, env: withConsole()})
	anybody := &caller{t, s.http, "http://" + s.instances[0].internal, ""}
	public := &caller{t, s.http, "http://" + s.instances[0].addr, adminKey}
	public.get("/console").ok(http.StatusNotFound, nil)
	anybody.get("/console").ok(http.StatusOK, nil)
	anybody.get("/console/api/overview").refused(http.StatusUnauthorized, "unauthorized", "")
	(&caller{t, s.http, anybody.base, apiKey}).get("/console/api/overview").refused(http.StatusUnauthorized, "unauthorized", "")
	anybody.post("/console/api/login", map[string]string{"key": "wrong"}).refused(http.StatusUnauthorized, "unauthorized", "")
	in := anybody.post("/console/api/login", map[string]string{"key": adminKey})
	in.ok(http.StatusNoContent, nil)
	cookie, _, _ := strings.Cut(in.Header.Get("Set-Cookie"), ";")

	ask := func(n int, method, path, site string) *answer {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.instances[n].internal+path, strings.NewReader(`{"text":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Cookie", cookie)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Sec-Fetch-Site", site)
		a, err := anybody.send(request)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ask(1, http.MethodGet, "/console/api/session", "same-origin").ok(http.StatusOK, nil)
	ask(1, http.MethodPost, "/console/api/groups/tea/messages", "cross-site").refused(http.StatusForbidden, "forbidden", "")
	ask(1, http.MethodPost, "/console/api/groups/tea/messages", "same-origin").refused(http.StatusNotFound, "not_found", "")
	limited := false
	for range 50 { // 3 a second are looked at
		a := anybody.post("/console/api/login", map[string]string{"key": "wrong"})
		limited = limited || a.Status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("50 wrong keys: all were looked at")
	}
	ask(0, http.MethodGet, "/console/api/session", "same-origin").ok(http.StatusOK, nil)
	if log := string(s.instances[0].logged()); strings.Contains(log, adminKey) || !strings.Contains(log, "console login") {
		t.Error("the log lacks the login, or has the key")
	}
}
