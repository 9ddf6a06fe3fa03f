package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestReconnectStorm: an instance with thousands of connections goes, and all of them come back to the other one, which
// goes on answering meanwhile. Not parallel: it measures, and takes the machine.
func TestReconnectStorm(t *testing.T) {
	const slowest = 2 * time.Second // of what others ask meanwhile, p99
	clients := 2000
	if os.Getenv("HEARTH_TEST_LONG") != "" {
		clients = 5000
	}
	needFiles(t, uint64(2*clients+1000))
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_DRAIN_SPREAD": "2s", "HEARTH_LOG_LEVEL": "info"}})
	const perGroup = 20
	users := names("u", clients)
	for n := range clients / perGroup {
		s.createGroup("group", fmt.Sprintf("g%d", n), append(users[n*perGroup:(n+1)*perGroup:(n+1)*perGroup], "prober")...)
	}
	c := &crowd{s: s}
	c.gather(t, users)
	t.Logf("%d clients connected: handshakes %s", clients, spread(c.taken()))

	for round, end := range []struct {
		name string
		end  func(i *instance)
	}{
		{"SIGTERM", func(i *instance) { i.stop() }},
		{"kill -9", func(i *instance) { i.kill() }},
	} {
		goes, stays := s.instances[round], 1-round
		p := s.probe(stays)
		begun := time.Now()
		end.end(goes)
		goes.up()
		c.awaitAll(t, clients, stays)
		back := time.Since(begun)
		gets, sends := p.stop(t)
		t.Logf("%s: all %d back after %v, %d dials refused; handshakes %s", end.name, clients, back.Round(time.Millisecond), c.refused.Swap(0), spread(c.taken()))
		t.Logf("%s: meanwhile GET %s; send %s", end.name, spread(gets), spread(sends))
		for what, took := range map[string][]time.Duration{"GET": gets, "send": sends} {
			if p99 := percentile(took, 0.99); p99 > slowest || len(took) == 0 {
				t.Errorf("%s: p99 of %d %ss meanwhile: got %v, want at most %v", end.name, len(took), what, p99, slowest)
			}
		}
	}
}

// needFiles raises the limit of open files.
func needFiles(t testing.TB, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < n {
		limit.Cur, limit.Max = n, max(n, limit.Max)
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		t.Fatalf("limit of open files: %v; %d are needed", err, n)
	}
}

// crowd is clients of which each keeps one connection, as cheaply as can be.
type crowd struct {
	s       *stack
	on      [2]atomic.Int64 // connected, by instance
	refused atomic.Int64

	mu         sync.Mutex
	handshakes []time.Duration // since taken was called, from the dial to welcome
}

// gather connects everybody to the first instance.
func (c *crowd) gather(t testing.TB, users []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	door := make(chan struct{}, 64) // the storm comes later
	for _, user := range users {
		work.Go(func() { c.attend(ctx, user, door) })
	}
	c.awaitAll(t, len(users), 0)
}

// attend keeps a connection: to the first instance, and whenever it is lost to the other one.
func (c *crowd) attend(ctx context.Context, user string, door chan struct{}) {
	for home := 0; ctx.Err() == nil; {
		if door != nil {
			door <- struct{}{}
		}
		begun := time.Now()
		b, bye, err := dialBare(c.s.instances[home].ws(), token(user), nil)
		if door != nil {
			<-door
		}
		if err != nil {
			c.refused.Add(1)
			home = 1 - home
			pause(ctx, max(retryEvery, time.Duration(bye.ReconnectAfterMS)*time.Millisecond))
			continue
		}
		door = nil
		c.mu.Lock()
		c.handshakes = append(c.handshakes, time.Since(begun))
		c.mu.Unlock()
		c.on[home].Add(1)
		hint := b.awaitEnd(ctx)
		c.on[home].Add(-1)
		home = 1 - home
		pause(ctx, hint)
	}
}

// awaitEnd reads until the connection ends, and tells when to come back: as goodbye says, or within 3 s where there was
// none.
func (b *bare) awaitEnd(ctx context.Context) (hint time.Duration) {
	stop := context.AfterFunc(ctx, func() { _ = b.ws.Close() })
	defer stop()
	defer b.ws.Close()
	hint = rand.N(3 * time.Second)
	for {
		f, err := b.next()
		if err != nil {
			return hint
		}
		if f.Event == "goodbye" {
			hint = time.Duration(f.ReconnectAfterMS) * time.Millisecond
		}
	}
}

// awaitAll waits until all are connected to an instance.
func (c *crowd) awaitAll(t testing.TB, clients, instance int) {
	t.Helper()
	await(t, 3*patience, fmt.Sprintf("%d clients on %s", clients, c.s.instances[instance].name), func() (bool, any) {
		n := [2]int64{c.on[0].Load(), c.on[1].Load()}
		return n[instance] >= int64(clients), n
	})
}

func (c *crowd) taken() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.handshakes
	c.handshakes = nil
	return taken
}

// probe is somebody who asks an instance something all the time.
type probe struct {
	cancel context.CancelFunc
	done   chan struct{}
	gets   []time.Duration
	sends  []time.Duration
	err    error
}

func (s *stack) probe(n int) *probe {
	ctx, cancel := context.WithCancel(s.t.Context())
	p := &probe{cancel: cancel, done: make(chan struct{})}
	web := s.user(n, "prober")
	go func() {
		defer close(p.done)
		for ; ctx.Err() == nil && p.err == nil; pause(ctx, 20*time.Millisecond) {
			p.ask(web, &p.gets, http.MethodGet, "/v1/groups/g0", nil, http.StatusOK)
			p.ask(web, &p.sends, http.MethodPost, "/v1/groups/g0/messages", fields{"body": textBody(say("probe"))}, http.StatusCreated)
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-p.done
	})
	return p
}

func (p *probe) ask(web *caller, took *[]time.Duration, method, path string, body any, want int) {
	begun := time.Now()
	a, err := web.try(method, path, body)
	if err == nil && a.Status != want {
		err = fmt.Errorf("%s: got %d %s, want %d", a.what, a.Status, a.Body, want)
	}
	if err != nil && p.err == nil {
		p.err = err
	}
	*took = append(*took, time.Since(begun))
}

func (p *probe) stop(t testing.TB) (gets, sends []time.Duration) {
	t.Helper()
	p.cancel()
	<-p.done
	if p.err != nil {
		t.Error(p.err)
	}
	return p.gets, p.sends
}
