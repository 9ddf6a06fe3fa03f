package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestStuckReader: connections stop reading in the middle of a busy group. The others do not notice, the server's memory
// stays bounded, and the stuck ones learn what they have to do. Not parallel: it measures.
func TestStuckReader(t *testing.T) {
	t.Run("50", func(t *testing.T) { measureStuckReaders(t, 50) })
	if os.Getenv("HEARTH_TEST_LONG") != "" {
		t.Run("1000", func(t *testing.T) { measureStuckReaders(t, 1000) })
	}
}

// measureStuckReaders measures up to three times: what else runs on the machine disturbs latencies now and then, stuck
// readers that disturb them do so always.
func measureStuckReaders(t *testing.T, stuck int) {
	for left := 2; ; left-- {
		var is, limit time.Duration
		t.Run("measured", func(t *testing.T) { is, limit = testStuckReaders(t, stuck) })
		if is <= limit || t.Failed() {
			return
		}
		t.Logf("p99 of the others with %d stuck readers: got %v, want at most %v", stuck, is, limit)
		if left == 0 {
			t.Fatal("three times")
		}
	}
}

const (
	stuckPerSecond = 300
	stuckFor       = 6                     // seconds of load
	stuckGrowth    = 64 << 20              // bytes of memory that stuck readers may cost
	stuckLatency   = 50 * time.Millisecond // of the others, or three times what it was
)

func testStuckReaders(t *testing.T, stuck int) (p99, limit time.Duration) {
	s := newStack(t, setup{env: map[string]string{
		"HEARTH_WS_QUEUE_FRAMES": "256", "HEARTH_WS_QUEUE_BYTES": "1048576", // as by default
		"HEARTH_WS_WRITE_TIMEOUT": "60s", // another way out, and not the one looked at here
	}})
	senders, healthy, users := names("s", 6), names("h", 5), names("u", stuck)
	s.createGroup("group", "g", slices.Concat(senders, healthy)...)
	for some := range slices.Chunk(users, 500) {
		s.server(0).post("/v1/groups/g/members", fields{"members": some}).ok(200, nil)
	}
	readers := make([]*reader, len(healthy))
	for n, user := range healthy {
		r := newReader(user, "g")
		r.timed = true
		r.start(t, func(ctx context.Context) { r.stay(ctx, s.instances[0].ws()) })
		readers[n] = r
	}
	l := startTalk(s, senders, []string{"g"}, stuckPerSecond, xs(1000, 4000))
	l.awaitMore(stuckPerSecond) // warm
	calm := trouble{from: time.Now()}
	l.awaitMore(4 * stuckPerSecond)
	calm.to = time.Now()
	before := s.instances[0].rss(t)

	sleepers := make([]*sleeper, stuck)
	for n, user := range users {
		sleepers[n] = s.fallAsleep(user)
		t.Cleanup(func() { _ = sleepers[n].ws.Close() })
	}
	asleep := trouble{from: time.Now()}
	peak := s.instances[0].peakRSS(t, l, stuckFor*stuckPerSecond)
	asleep.to = time.Now()

	first := sleepers[0]
	first.learnsResync(t)
	first.hearsNothing(t, l)
	first.catchesUp(t)
	l.awaitMore(stuckFor / 2 * stuckPerSecond)
	first.isClosed(t, asleep.from)
	for _, sleeper := range sleepers[1:] {
		sleeper.learnsResync(t)
	}
	acks := l.stop()
	first.same(t, acks)
	allComplete(t, readers, acks)

	was, is := delaysIn(readers, calm), delaysIn(readers, asleep)
	t.Logf("from acceptance to push: before %s; with %d stuck readers %s", spread(was), stuck, spread(is))
	t.Logf("memory: %d MiB before, %d MiB at most with %d stuck readers", before>>20, peak>>20, stuck)
	if peak-before > stuckGrowth {
		t.Errorf("memory with %d stuck readers: got %d MiB more, want at most %d", stuck, (peak-before)>>20, stuckGrowth>>20)
	}
	return percentile(is, 0.99), max(3*percentile(was, 0.99), stuckLatency)
}

func delaysIn(readers []*reader, when trouble) (list []time.Duration) {
	for _, r := range readers {
		r.mu.Lock()
		for _, d := range r.delays {
			if d.at.After(when.from) && d.at.Before(when.to) {
				list = append(list, d.took)
			}
		}
		r.mu.Unlock()
	}
	return list
}

// rss is the memory of the process, in bytes.
func (p *process) rss(t testing.TB) int64 {
	t.Helper()
	p.mu.Lock()
	pid := p.cmd.Process.Pid
	p.mu.Unlock()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("skipped: memory is measured on Linux only: " + err.Error())
	}
	for line := range bytes.Lines(status) {
		words := bytes.Fields(line)
		if len(words) == 3 && string(words[0]) == "VmRSS:" {
			kib, err := strconv.ParseInt(string(words[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}

// peakRSS is the most memory the process has until n more messages are acknowledged.
func (p *process) peakRSS(t testing.TB, l *load, n int64) (peak int64) {
	t.Helper()
	want := l.count.Load() + n
	await(t, 2*patience, fmt.Sprintf("%d messages acknowledged", want), func() (bool, any) {
		peak = max(peak, p.rss(t))
		return l.count.Load() >= want, l.count.Load()
	})
	return peak
}

// sleeper is a connection that does not read for a while.
type sleeper struct {
	*bare
	user   string
	lastID int64
	pushes int
	deaf   bool  // pushes are counted and nothing else
	last   int64 // seq of the last message read
	resync int64 // seq from which it was told to subscribe; 0: its own
	seen   []fingerprint
}

// smallWindow lets little lie in the kernel's buffers, on either side.
func smallWindow(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
		)
	})
	return errors.Join(err, set)
}

func (s *stack) fallAsleep(user string) *sleeper {
	s.t.Helper()
	b, _, err := dialBare(s.instances[0].ws(), token(user), &net.Dialer{Control: smallWindow})
	if err != nil {
		s.t.Fatalf("connect %s: %v", user, err)
	}
	return &sleeper{bare: b, user: user}
}

// read is the next object; messages have to follow each other.
func (s *sleeper) read(t testing.TB, within time.Duration) frame {
	t.Helper()
	f, err := s.nextWithin(within)
	if err != nil {
		t.Fatalf("%s: behind message %d: %v", s.user, s.last, err)
	}
	if f.Event != "message" {
		return f
	}
	if s.pushes++; s.deaf {
		return f
	}
	if s.last > 0 && f.Seq != s.last+1 {
		t.Fatalf("%s: push of %d behind %d", s.user, f.Seq, s.last)
	}
	s.last, s.seen = f.Seq, append(s.seen, f.fingerprint())
	return f
}

// learnsResync reads again: what had still been sent, and within 5 s that it was too slow.
func (s *sleeper) learnsResync(t testing.TB) {
	t.Helper()
	for begun := time.Now(); ; {
		f := s.read(t, patience)
		if f.Event == "message" {
			continue
		}
		if f.Event != "resync" || len(f.Groups) != 1 || f.Groups[0].Group != "g" {
			t.Fatalf("%s: behind message %d: got %s, want resync of g", s.user, s.last, f.raw)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: resync: got after %v, want within 5 s", s.user, took)
		}
		if after := f.Groups[0].AfterSeq; after != nil {
			s.resync = *after
		}
		return
	}
}

// hearsNothing fails when a message comes before the next subscribe.
func (s *sleeper) hearsNothing(t testing.TB, l *load) {
	t.Helper()
	l.awaitMore(stuckPerSecond)
	pushes := s.pushes
	s.deaf = true
	s.ask(t, "ping", nil)
	if n := s.pushes - pushes; n > 0 {
		t.Fatalf("%s: %d messages were pushed behind resync", s.user, n)
	}
}

// ask sends a request and reads up to its answer.
func (s *sleeper) ask(t testing.TB, op string, f fields) frame {
	t.Helper()
	s.lastID++
	request := fields{"id": s.lastID, "op": op}
	for name, value := range f {
		request[name] = value
	}
	if err := s.write(request); err != nil {
		t.Fatal(err)
	}
	for {
		switch f := s.read(t, replyTimeout); {
		case f.ID != nil && f.Error != nil:
			t.Fatalf("%s: %s: %v", s.user, op, f.Error)
		case f.ID != nil:
			return f
		}
	}
}

// catchesUp subscribes, as often as there is more, and then reads some pushes.
func (s *sleeper) catchesUp(t testing.TB) {
	t.Helper()
	if s.resync > 0 {
		s.last = s.resync
		s.seen = slices.DeleteFunc(s.seen, func(f fingerprint) bool { return f.seq > s.last })
	}
	s.deaf = true // what is pushed between two pages is in the second
	for more := true; more; {
		p, err := parsePage(s.ask(t, "subscribe", fields{"group": "g", "after_seq": s.last, "limit": 200}).OK)
		if err == nil {
			_, err = p.explained(s.last)
		}
		if err != nil || len(p.Messages) == 0 {
			t.Fatalf("%s: subscribe after %d: got %+v, %v", s.user, s.last, p, err)
		}
		for _, m := range p.Messages {
			s.last, s.seen = m.Seq, append(s.seen, m.fingerprint())
		}
		more = p.More
	}
	s.deaf = false
	for range 100 {
		s.read(t, patience)
	}
}

// isClosed reads again after the second sleep: what had still been sent, goodbye, 4004.
func (s *sleeper) isClosed(t testing.TB, asleep time.Time) {
	t.Helper()
	var bye frame
	for {
		f, err := s.nextWithin(patience)
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == 4004 && bye.Code == 4004 && bye.ReconnectAfterMS > 0:
			t.Logf("closed as too slow; first asleep %v ago", time.Since(asleep).Round(time.Second))
			return
		case err != nil:
			t.Fatalf("%s: end of the second sleep: got %v behind goodbye %s, want both 4004 and reconnect_after_ms", s.user, err, bye.raw)
		case f.Event == "message" && f.Seq == s.last+1 && bye.Event == "":
			s.last, s.seen = f.Seq, append(s.seen, f.fingerprint())
		case f.Event == "goodbye":
			bye = f
		default:
			t.Fatalf("%s: second sleep: got %s behind message %d, want the next message or goodbye", s.user, f.raw, s.last)
		}
	}
}

// same fails unless what was read is what was accepted, without a gap.
func (s *sleeper) same(t testing.TB, acks []ack) {
	t.Helper()
	var want []fingerprint
	for _, a := range ofGroup(acks, "g") {
		if a.Seq >= s.seen[0].seq && a.Seq <= s.last {
			want = append(want, a.fingerprint())
		}
	}
	if !slices.Equal(s.seen, want) {
		t.Errorf("%s: got %d messages from %d to %d, want the %d accepted ones", s.user, len(s.seen), s.seen[0].seq, s.last, len(want))
	}
}
