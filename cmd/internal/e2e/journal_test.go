package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// slowly lets messages wait for MySQL: when Redis loses them, only the journals have them.
var slowly = map[string]string{"HEARTH_PERSIST_INTERVAL": "300ms"}

// observed is a load with followers and read marks, to be checked when it is over.
type observed struct {
	*stack
	groups    []string
	load      *load
	followers []*follower
	movers    []*markMover
}

// newObserved lets ten users send to six groups; two follow each group, and one reads in all of them.
func newObserved(s *stack) *observed {
	c := &observed{stack: s, groups: names("g", 6)}
	users := names("u", 10)
	for n, g := range c.groups {
		s.createGroup("group", g, append(users, "f0", "f1", "r0")...)
		c.followers = append(c.followers, s.follow("f0", g, n), s.follow("f1", g, n+1))
	}
	c.load = startLoad(s, users, c.groups)
	c.movers = append(c.movers, s.startMarks("r0", c.groups))
	return c
}

// check stops the load and holds what is stored and shown against what was promised. Redis has lost its numbers at
// least losses times; others were acknowledged beside the load.
func (c *observed) check(t *testing.T, losses int, others ...ack) {
	t.Helper()
	acks := c.load.stop()
	slowest := time.Duration(0)
	for _, a := range acks {
		slowest = max(slowest, a.Took)
	}
	t.Logf("%d messages acknowledged, the slowest after %v", len(acks), slowest.Round(time.Millisecond))
	c.exactlyOnce(slices.Concat(acks, others))
	c.wholeHistory(t, acks, c.groups, losses)
	c.complete(t, c.followers, acks)
	for _, r := range c.movers {
		r.check(t, acks)
	}
	c.repeats(t, acks)
	c.exactlyOnce(slices.Concat(acks, others))
}

// repeats sends some old messages again, on another instance perhaps: each is the message it was.
func (c *observed) repeats(t *testing.T, acks []ack) {
	t.Helper()
	lines := make(map[string]*client)
	for _, n := range rand.Perm(len(acks))[:min(len(acks), 300)] {
		a := acks[n]
		if lines[a.From] == nil {
			lines[a.From] = c.connect(n%len(c.instances), a.From)
		}
		var got sent
		draft := fmt.Sprintf(`[{"type":"text","text":%s}]`, a.Body[len(`[{"type":"text","text":`):len(a.Body)-2])
		lines[a.From].do("send", fields{"group": a.Group, "body": rawJSON(draft), "client_id": a.ClientID}, &got)
		if !got.Duplicate || got.Seq != a.Seq || got.TimeMS != a.TimeMS {
			t.Fatalf("%s of %s in %s again: got %+v, want the duplicate of seq %d", a.ClientID, a.From, a.Group, got, a.Seq)
		}
	}
}

// rawJSON goes into a request as it is.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// markMover moves read marks on through faults.
type markMover struct {
	line *line
	stop func() error

	mu    sync.Mutex
	marks map[string]int64 // the highest that was confirmed, by group
}

// startMarks reads what there is in each group, in turn, until stop.
func (s *stack) startMarks(user string, groups []string) *markMover {
	r := &markMover{line: &line{s: s, user: user}, marks: make(map[string]int64)}
	done := make(chan struct{})
	var work errgroup.Group
	work.Go(func() error {
		defer r.line.drop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return nil
			default:
			}
			if err := r.read(groups[n%len(groups)]); err != nil {
				return err
			}
		}
	})
	r.stop = sync.OnceValue(func() error {
		close(done)
		return work.Wait()
	})
	s.t.Cleanup(func() { _ = r.stop() })
	return r
}

// read moves one mark near to the head. What fails is left: the next one comes.
func (r *markMover) read(group string) error {
	ctx := r.line.s.t.Context()
	c := r.line.client(ctx)
	if c == nil {
		return nil
	}
	var p page
	err := c.try("pull", fields{"group": group, "limit": 1, "before_seq": 1 << 50}, &p)
	var got mark
	if err == nil {
		err = c.try("read", fields{"group": group, "seq": p.MaxSeq - rand.Int64N(3)}, &got)
	}
	if err != nil {
		if codeOf(err) == "" {
			r.line.drop()
		}
		pause(ctx, retryEvery)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if got.ReadSeq < r.marks[group] {
		return fmt.Errorf("%s in %s: read mark %d is confirmed after %d", r.line.user, group, got.ReadSeq, r.marks[group])
	}
	r.marks[group] = got.ReadSeq
	return nil
}

// check: every instance knows the marks, and counts above them exactly what was acknowledged.
func (r *markMover) check(t *testing.T, acks []ack) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for n := range r.line.s.instances {
		var got struct{ Results []head }
		r.line.s.user(n, r.line.user).post("/v1/sync", nil).ok(200, &got)
		if len(got.Results) != len(r.marks) {
			t.Fatalf("%s: got %d conversations, want %d", r.line.user, len(got.Results), len(r.marks))
		}
		for _, h := range got.Results {
			want := mark{ReadSeq: max(h.ReadSeq, r.marks[h.Group])} // one whose answer got lost may count
			for _, a := range ofGroup(acks, h.Group) {
				if a.Seq > want.ReadSeq {
					want.Unread++
				}
			}
			if h.mark != want {
				t.Errorf("%s in %s on instance %d: got %+v, want %+v", r.line.user, h.Group, n, h.mark, want)
			}
		}
	}
}

// sendsGoOn fails unless every group gets messages within a time of begin.
func (c *observed) sendsGoOn(t *testing.T, begin time.Time, within time.Duration) {
	t.Helper()
	await(t, within-time.Since(begin), "messages in every group", func() (bool, any) {
		c.load.mu.Lock()
		defer c.load.mu.Unlock()
		after := make(map[string]int64)
		for _, a := range c.load.acks {
			if a.TimeMS > begin.UnixMilli() {
				after[a.Group]++
			}
		}
		return len(after) == len(c.groups), after
	})
	t.Logf("messages in every group again after %v", time.Since(begin).Round(time.Millisecond))
}

// TestEmptiedUnderLoad: Redis is emptied three times while messages are sent, shown and read. Nobody waits for MySQL
// before.
func TestEmptiedUnderLoad(t *testing.T) {
	t.Parallel()
	c := newObserved(newStack(t, setup{instances: 3, env: slowly}))
	const rounds = 3
	for range rounds {
		c.load.awaitMore(400)
		if err := c.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		c.sendsGoOn(t, time.Now(), 5*time.Second)
	}
	c.load.awaitMore(400)
	c.check(t, rounds)
}

// TestRestartedEmptyUnderLoad: Redis dies and comes back without what it had written.
func TestRestartedEmptyUnderLoad(t *testing.T) {
	t.Parallel()
	c := newObserved(newStack(t, setup{instances: 2, env: slowly, redis: []string{"--appendonly", "yes", "--appendfsync", "everysec"}}))
	const rounds = 2
	for range rounds {
		c.load.awaitMore(400)
		if err := c.redis.Kill(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(c.redis.Dir(), "appendonlydir"))
		if err != nil || len(files) != 1 {
			t.Fatalf("the folder of the append-only file: got %v, %v", files, err)
		}
		if err := os.RemoveAll(files[0]); err != nil {
			t.Fatal(err)
		}
		if err := c.redis.Restart(); err != nil {
			t.Fatal(err)
		}
		c.sendsGoOn(t, time.Now(), 5*time.Second)
	}
	c.load.awaitMore(400)
	c.check(t, rounds)
}

// TestFrozenWhileEmptied: an instance stands still for longer than it is waited for, and Redis is emptied meanwhile. What
// only it has acknowledged comes late, into holes.
func TestFrozenWhileEmptied(t *testing.T) {
	t.Parallel()
	c := newObserved(newStack(t, setup{instances: 2, env: slowly}))
	c.createGroup("group", "lonely", "ann", "bob")
	c.load.awaitMore(400)
	frozen := c.instances[0]
	ann := c.connect(0, "ann") // of her group the other instance hears nothing
	var alone []ack
	for n := range 20 {
		a := ack{From: "ann", ClientID: fmt.Sprint("alone-", n), Body: compactText(say(n))}
		ann.do("send", fields{"group": "lonely", "body": textBody(say(n)), "client_id": a.ClientID}, &a.sent)
		alone = append(alone, a)
	}
	frozen.signal(syscall.SIGSTOP)
	if err := c.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	emptied := time.Now()
	// Its heartbeat and its transactions in MySQL are waited for, 5 s each and at the same time; the machine may be busy.
	c.sendsGoOn(t, emptied, 15*time.Second)
	bob := c.connect(1, "bob")
	then := ack{From: "bob", ClientID: "then", Body: compactText(say("hello?"))}
	bob.do("send", fields{"group": "lonely", "body": textBody(say("hello?")), "client_id": then.ClientID}, &then.sent)
	if page := bob.pull("lonely", fields{"after_seq": 0}); len(page.Holes) == 0 {
		t.Fatalf("lonely while the only instance that knows stands still: got %+v, want a hole", page)
	}
	await(t, patience, "8 seconds", func() (bool, any) { return time.Since(emptied) > 8*time.Second, time.Since(emptied) })
	frozen.signal(syscall.SIGCONT)
	resync := bob.awaitEvent("resync")
	t.Logf("bob is told: %s", resync.raw)
	c.load.awaitMore(400) // some time behind it, repeats are known, too

	var got []message
	for _, m := range bob.pull("lonely", fields{"after_seq": 0, "limit": 100}).Messages {
		if m.Seq != then.Seq {
			got = append(got, m)
		}
	}
	sameMessages(t, "what came late", got, alone)
	c.repeats(t, alone)
	c.check(t, 1, append(alone, then)...)
}
