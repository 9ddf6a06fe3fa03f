package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// says is what a command prints, on both outputs, none of it secret.
func (s *stack) says(args ...string) (code int, out string) {
	s.t.Helper()
	stdout, stderr, code := s.command(args...)
	out = stdout + stderr
	for _, secret := range []string{jwtSecret, apiKey, redisPassword, mysqlPassword} {
		if strings.Contains(out, secret) {
			s.t.Errorf("hearth %v prints a secret: %s", args, out)
		}
	}
	return code, out
}

// sound fails unless `hearth verify` finds nothing.
func (s *stack) sound() {
	s.t.Helper()
	code, out := s.says("verify")
	if code != 0 || !strings.HasSuffix(out, ": sound\n") {
		s.t.Fatalf("hearth verify: exit %d, want 0:\n%s", code, out)
	}
	s.t.Logf("verify: %s", out)
}

// audited is what `hearth verify --json` prints.
type audited struct {
	Groups, Messages int
	Sound            bool
	Findings         []struct {
		Group     string
		Partition *int
		Check     string
		What      string
	}
	Notes []string
}

func (s *stack) audit(args ...string) (code int, a audited) {
	s.t.Helper()
	code, out := s.says(append([]string{"verify", "--json"}, args...)...)
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		s.t.Fatalf("hearth verify --json: exit %d, %v:\n%s", code, err, out)
	}
	return code, a
}

// keyOf is a key of a group's partition, in its generation where name ends with a colon.
func (s *stack) keyOf(group, name string) string {
	s.t.Helper()
	prefix := fmt.Sprintf("hearth:{%d}:", domain.Partitions(16).Of(group))
	if !strings.HasSuffix(name, ":") {
		return prefix + name
	}
	gen, err := s.rdb.HGet(s.t.Context(), prefix+"gen", "gen").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return prefix + name + gen
}

// TestVerifyUnderLoad: a system at work is sound, however often one looks, while members come and go, marks move, and
// Redis comes back as another server.
func TestVerifyUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, redis: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	users, groups := names("u", 12), append(names("g", 8), names("r", 4)...)
	for _, g := range groups {
		kind := map[bool]string{true: "room", false: "group"}[g[0] == 'r']
		s.createGroup(kind, g, users...)
	}
	s.createGroup("group", "quiet", users...)
	if _, err := s.connect(0, "u0").sendTo("u1", say("direct"), ""); err != nil {
		t.Fatal(err)
	}
	l := startLoad(s, users, groups)
	coming, ended := context.WithCancel(t.Context())
	moved := make(chan error, 1)
	go func() { moved <- s.comeAndGo(coming, groups) }()
	for n := range 4 {
		l.awaitMore(200)
		s.sound()
		if n == 1 {
			if err := s.redis.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended()
	if err := <-moved; err != nil {
		t.Error(err)
	}
	acks := l.stop()
	s.awaitPersisted(patience)
	code, a := s.audit()
	if code != 0 || !a.Sound || a.Groups != 14 || a.Messages != len(acks)+1 {
		t.Errorf("a quiet system: got exit %d, %+v, want sound with 14 groups and %d messages", code, a, len(acks)+1)
	}
}

// comeAndGo lets a guest join and leave, again and again, as far as the instance can tell Redis, and hangs up in the middle of
// the last call. It fails if he never could.
func (s *stack) comeAndGo(ctx context.Context, groups []string) error {
	c := &caller{s.t, s.http, "http://" + s.instances[1].addr, apiKey}
	done := make(map[string]int) // by method
	for n := 0; ctx.Err() == nil; n++ {
		group := groups[n%len(groups)]
		for _, step := range []struct{ method, path, body string }{
			{http.MethodPost, "/members", `{"members":["guest"]}`}, {http.MethodDelete, "/members/guest", ""},
		} {
			request, err := http.NewRequestWithContext(ctx, step.method, c.base+"/v1/groups/"+group+step.path, strings.NewReader(step.body))
			if err != nil {
				return err
			}
			request.Header.Set("Authorization", "Bearer "+c.token)
			if step.body != "" {
				request.Header.Set("Content-Type", "application/json")
			}
			response, err := s.http.Do(request)
			if err != nil {
				continue
			}
			response.Body.Close()
			if response.StatusCode < 300 {
				done[step.method]++
			}
		}
		pause(ctx, 2*time.Millisecond)
	}
	if done[http.MethodPost] == 0 || done[http.MethodDelete] == 0 {
		return fmt.Errorf("nobody came or went while the audits ran: %v", done)
	}
	return nil
}

// TestVerifyFindsFaults: each fault is found, and nothing else.
func TestVerifyFindsFaults(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 1})
	users := names("u", 3)
	s.createGroup("group", "g", users...)
	s.createGroup("group", "quiet", users...)
	for n := range 12 {
		s.connect(0, users[n%3]).do("send", fields{"group": "g", "body": textBody(say(n)), "client_id": fmt.Sprint("c", n)}, nil)
	}
	s.awaitPersisted(patience)
	s.user(0, "u0").get("/v1/groups/quiet/messages").ok(http.StatusOK, nil) // caches its floor
	s.instances[0].stop()                                                   // a fault must not be mended, nor a mark be on its way
	s.sound()

	ctx := t.Context()
	seq, persisted, heat, speakers := s.keyOf("g", "seq:"), s.keyOf("g", "persisted:"), s.keyOf("g", "heat"), s.keyOf("g", "speakers")
	recent, read, cached := s.keyOf("g", "recent:")+":g", s.keyOf("g", "read:")+":g", s.keyOf("g", "group:g")
	log, floor := s.keyOf("g", "log:"), s.keyOf("quiet", "floor:")
	partition := domain.Partitions(16).Of("g")
	last := s.rdb.HGet(ctx, seq, "g").Val()
	time12 := strings.TrimPrefix(last, "12 ")

	redisPlant := func(do, undo func()) func() func() { return func() func() { do(); return undo } }
	sqlPlant := func(do, undo string, args ...any) func() func() {
		return func() func() { s.exec(do, args...); return func() { s.exec(undo, args...) } }
	}
	hset := func(key, field string, value any) func() func() {
		return func() func() {
			old, err := s.rdb.HGet(ctx, key, field).Result()
			s.rdb.HSet(ctx, key, field, value)
			return func() {
				if errors.Is(err, redis.Nil) {
					s.rdb.HDel(ctx, key, field)
				} else {
					s.rdb.HSet(ctx, key, field, old)
				}
			}
		}
	}
	stream := s.rdb.XRange(ctx, recent, "-", "+").Val()
	showsOnly := func(change func(tail string) string, ids ...string) func() func() {
		return redisPlant(func() {
			s.rdb.Del(ctx, recent)
			for _, m := range stream {
				if !slices.Contains(ids, m.ID) {
					s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: recent, ID: m.ID, Values: []any{"m", change(m.Values["m"].(string))}})
				}
			}
		}, func() {})
	}
	same := func(tail string) string { return tail }
	whole := showsOnly(same)

	faults := []struct {
		name  string
		plant func() (undo func())
		want  []string // "check what", as they begin or what they contain
	}{
		{
			"a row is gone",
			func() func() {
				s.exec("CREATE TABLE kept AS SELECT * FROM group_msg WHERE group_id='g' AND msg_seq=5")
				s.exec("DELETE FROM group_msg WHERE group_id='g' AND msg_seq=5")
				return func() { s.exec("INSERT INTO group_msg SELECT * FROM kept"); s.exec("DROP TABLE kept") }
			},
			[]string{"seqs 1 seqs have neither row nor hole: 5 (recent has 1 of them)"},
		},
		{
			"a hole covers rows",
			sqlPlant("INSERT INTO seq_hole VALUES ('g', 3, 4, 'lost')", "DELETE FROM seq_hole WHERE group_id='g'"),
			[]string{"seqs 2 rows that are holes, too: 3-4", "seqs Redis has the holes none, MySQL 3-4"},
		},
		{
			"holes overlap",
			func() func() {
				s.exec("UPDATE group_msg SET group_id='elsewhere' WHERE group_id='g' AND msg_seq<=4")
				s.exec("INSERT INTO seq_hole VALUES ('g', 1, 3, 'expired'), ('g', 2, 4, 'expired')")
				s.rdb.HSet(ctx, s.keyOf("g", "holes:"), "g", "1-4:expired")
				s.rdb.XTrimMinID(ctx, recent, "5-0")
				return func() {
					s.exec("UPDATE group_msg SET group_id='g' WHERE group_id='elsewhere'")
					s.exec("DELETE FROM seq_hole WHERE group_id='g'")
					s.rdb.HDel(ctx, s.keyOf("g", "holes:"), "g")
					whole()
				}
			},
			[]string{"seqs the holes 1-3 and 2-4 overlap"},
		},
		{"the seq falls", hset(seq, "g", "9 "+time12), []string{"seqs Redis is at 9, MySQL at 12"}},
		{"the seq rises", hset(seq, "g", "15 "+time12), []string{"seqs 3 seqs have neither row nor hole: 13-15"}},
		{
			"times fall",
			sqlPlant("UPDATE group_msg SET msg_time=msg_time-1000000 WHERE group_id='g' AND msg_seq=5",
				"UPDATE group_msg SET msg_time=msg_time+1000000 WHERE group_id='g' AND msg_seq=5"),
			[]string{"seqs 1 rows that are older than the one before: 5", "recent 1 rows that recent shows otherwise: 5"},
		},
		{
			"generations fall",
			sqlPlant("UPDATE group_msg SET gen=gen-1 WHERE group_id='g' AND msg_seq=5", "UPDATE group_msg SET gen=gen+1 WHERE group_id='g' AND msg_seq=5"),
			[]string{"seqs 1 rows of a lower generation than the one before: 5"},
		},
		{"a floor is not MySQL's", hset(floor, "quiet", "7 0"), []string{"seqs Redis says up to 7 (time 0), MySQL 0 (time 0)"}},
		{"a group that MySQL does not know", hset(s.keyOf("ghost", "seq:"), "ghost", "7 0"), []string{"seqs MySQL does not know this group"}},
		{"the watermark is above the seq", hset(persisted, "g", 14), []string{"watermark it is at 14, the last message is 12"}},
		{
			"the watermark has passed the log",
			redisPlant(func() {
				s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: log, Values: []any{"g", "g", "s", 12, "t", time12, "y", "group", "h", `"from":"u2"`, "b", "[]", "x", "ab"}})
			}, func() { s.rdb.Del(ctx, log) }),
			[]string{"watermark it is at 12, but 1 messages up to there are still in the log: 12"},
		},
		{
			"a row has another body",
			sqlPlant(`UPDATE group_msg SET msg_body=REPLACE(msg_body, 'text', 'Text') WHERE group_id='g' AND msg_seq=5`,
				`UPDATE group_msg SET msg_body=REPLACE(msg_body, 'Text', 'text') WHERE group_id='g' AND msg_seq=5`),
			[]string{"recent 1 rows whose content is not that of the hash: 5"},
		},
		{
			"recent has another sender",
			func() func() {
				showsOnly(func(tail string) string { return strings.Replace(tail, `"from":"u1"`, `"from":"u9"`, 1) })()
				return func() { whole() }
			},
			[]string{"recent 4 rows that recent shows otherwise: 2, 5, 8, 11"},
		},
		{
			"a send is stored twice",
			func() func() {
				showsOnly(same, "6-0")()
				s.exec("UPDATE group_msg SET from_account='u1', client_id='c4' WHERE group_id='g' AND msg_seq=6")
				return func() {
					s.exec("UPDATE group_msg SET from_account='u2', client_id='c5' WHERE group_id='g' AND msg_seq=6")
					whole()
				}
			},
			[]string{"once 1 rows of a send that is stored already: 6"},
		},
		{"a mark is above the last message", hset(read, "u0", 13), []string{"read_marks Redis has u0 at 13, the last message is 12"}},
		{"a mark is behind MySQL's", hset(read, "u0", 9), []string{"read_marks Redis has u0 at 9, MySQL at 10"}},
		{
			"a mark that nobody writes",
			sqlPlant("UPDATE group_read SET read_seq=9 WHERE group_id='g' AND user_id='u0'", "UPDATE group_read SET read_seq=10 WHERE group_id='g' AND user_id='u0'"),
			[]string{"read_marks Redis has u0 at 10, MySQL at 9, and nothing says that it is to be written"},
		},
		{
			"MySQL's mark is above the last message",
			sqlPlant("INSERT INTO group_read VALUES ('g', 'w', 13)", "DELETE FROM group_read WHERE user_id='w'"),
			[]string{"read_marks MySQL has w at 13, the last message is 12"},
		},
		{"a member has another role", hset(cached, "u0", "admin:0"), []string{"members at version 1 Redis and MySQL differ in 1 users, such as u0"}},
		{"somebody else is a member", hset(cached, "mallory", "member:0"), []string{"members at version 1 Redis and MySQL differ in 1 users, such as mallory"}},
		{"a change was not told", hset(cached, "*version", 0), []string{"members Redis has version 0, MySQL 1"}},
		{
			"members are counted wrongly",
			sqlPlant("UPDATE chat_group SET member_count=member_count+1 WHERE group_id='g'", "UPDATE chat_group SET member_count=member_count-1 WHERE group_id='g'"),
			[]string{"members member_count is 4, there are 3"},
		},
		{
			"heat is another number",
			redisPlant(func() { s.rdb.ZIncrBy(ctx, heat, 1, "g") }, func() { s.rdb.ZIncrBy(ctx, heat, -1, "g") }),
			[]string{"heat it is 4, 3 people count"},
		},
		{
			"somebody who spoke does not count",
			func() func() {
				score := s.rdb.ZScore(ctx, speakers, "g|u0").Val()
				s.rdb.ZRem(ctx, speakers, "g|u0")
				s.rdb.ZIncrBy(ctx, heat, -1, "g")
				return func() {
					s.rdb.ZAdd(ctx, speakers, redis.Z{Score: score, Member: "g|u0"})
					s.rdb.ZIncrBy(ctx, heat, 1, "g")
				}
			},
			[]string{"heat 2 people count; 0 of them did not speak, 1 others did"},
		},
		{
			"a generation is not settled",
			sqlPlant("UPDATE generation SET settled=settled-1 WHERE partition_id=?", "UPDATE generation SET settled=settled+1 WHERE partition_id=?", partition),
			[]string{"generation generation 1 is not settled, 0 is"},
		},
		{
			"MySQL is in another generation",
			sqlPlant("UPDATE generation SET gen=gen+1, settled=settled+1 WHERE partition_id=?", "UPDATE generation SET gen=gen-1, settled=settled-1 WHERE partition_id=?", partition),
			[]string{"generation Redis is in generation 1 of server "},
		},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := s.in(t)
			undo := f.plant()
			code, a := s.audit()
			undo()
			if code != 5 || len(a.Findings) != len(f.want) {
				t.Fatalf("exit %d, %+v; want 5 and %q", code, a, f.want)
			}
			for i, got := range a.Findings {
				subject := got.Group
				if got.Partition != nil {
					subject = fmt.Sprint("partition ", *got.Partition)
				}
				if text := got.Check + " " + got.What; !strings.HasPrefix(text, f.want[i]) || subject == "" {
					t.Errorf("finding of %s: got %q, want %q", subject, text, f.want[i])
				}
			}
		})
	}
	s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "hearth:{3}:late:1:1700000000000", Values: []any{"g", "g"}})
	code, out := s.says("verify")
	if want := "note: hearth:{3}:late:1:1700000000000: 1 messages that came too late to be stored\n2 groups, 12 messages checked in "; code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("all faults undone: exit %d, %s; want 0 and %q", code, out, want)
	}
	s.rdb.HSet(ctx, heat, "x", 1)
	s.rdb.ZIncrBy(ctx, heat, 1, "g")
	code, out = s.says("verify", "--group", "g")
	if want := "g  heat  it is 4, 3 people count\n"; code != 5 || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, ": 1 finding\nhearth: 1 finding\n") {
		t.Errorf("verify --group: exit %d, %s; want 5 and %q", code, out, want)
	}
	if code, out = s.says("verify", "--group", "nowhere"); code != 1 || !strings.Contains(out, "there is no nowhere") {
		t.Errorf("verify of no group: exit %d, %s; want 1", code, out)
	}
	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, out = s.says("verify"); code != 1 || !strings.Contains(out, "could not audit") {
		t.Errorf("verify without Redis: exit %d, %s; want 1", code, out)
	}
}
