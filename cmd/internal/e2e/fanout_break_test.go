package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/domain/testserver"
)

// fanout is a stack under load whose instances reach Redis through a proxy, with readers on both that stay connected:
// what pub/sub loses has to come over these connections all the same.
type fanout struct {
	*stack
	proxy       *testserver.Proxy
	subscribers int // connections that subscribe, as long as nothing is wrong
	load        *load
	readers     []*reader
	troubles    []trouble
}

// trouble is a time in which pub/sub did not work somewhere.
type trouble struct{ from, to time.Time }

func startFanout(t *testing.T) *fanout {
	t.Helper()
	const instances, readers, perSecond = 2, 12, 150
	f := &fanout{}
	f.stack = newStack(t, setup{instances: instances, redisVia: func(addr string) string {
		f.proxy = testserver.NewProxy(t, addr)
		return f.proxy.Addr()
	}})
	groups, senders, users := names("g", 4), names("s", 8), names("u", readers)
	for n, g := range groups {
		f.createGroup("group", g, append(users, senders[n], senders[n+len(groups)])...)
	}
	for n, user := range users {
		r := newReader(user, groups...)
		r.timed = true
		r.start(t, func(ctx context.Context) { r.stay(ctx, f.instances[n%instances].ws()) })
		f.readers = append(f.readers, r)
	}
	f.load = startTalk(f.stack, senders, groups, perSecond)
	f.load.awaitMore(perSecond)
	if f.subscribers = len(f.proxy.Subscribers()); f.subscribers < instances {
		t.Fatalf("connections that subscribe: got %d, want one for each of %d instances", f.subscribers, instances)
	}
	return f
}

// awaitSubscribers waits until every connection that has gone bad has a successor.
func (f *fanout) awaitSubscribers() {
	f.t.Helper()
	await(f.t, patience, "the subscribers have connected anew", func() (bool, any) {
		n := len(f.proxy.Subscribers())
		return n >= f.subscribers, fmt.Sprintf("%d of %d", n, f.subscribers)
	})
}

// finish ends the load, compares what everybody has seen, and reports the delays.
func (f *fanout) finish() {
	f.t.Helper()
	f.load.awaitMore(100)
	acks := f.load.stop()
	figures := allComplete(f.t, f.readers, acks)
	var calm, troubled []time.Duration
	for _, r := range f.readers {
		r.mu.Lock()
		delays := slices.Clone(r.delays)
		r.mu.Unlock()
		for _, d := range delays {
			if f.inTrouble(d.at) {
				troubled = append(troubled, d.took)
			} else {
				calm = append(calm, d.took)
			}
		}
	}
	f.t.Logf("%d messages, %d pushes, %d resyncs", len(acks), figures.pushed, figures.resyncs)
	f.t.Logf("from acceptance to push, while pub/sub worked: %s", spread(calm))
	f.t.Logf("from acceptance to push, in %d troubles: %s", len(f.troubles), spread(troubled))
	if len(troubled) == 0 {
		f.t.Error("no message was accepted in times of trouble")
	}
	f.exactlyOnce(acks)
}

func (f *fanout) inTrouble(at time.Time) bool {
	for _, t := range f.troubles {
		if !at.Before(t.from.Truncate(time.Millisecond)) && at.Before(t.to) {
			return true
		}
	}
	return false
}

func spread(d []time.Duration) string {
	return fmt.Sprintf("p50 %v, p99 %v, max %v of %d", percentile(d, 0.5), percentile(d, 0.99), percentile(d, 1), len(d))
}

// TestFanoutConnectionCut: the pub/sub connections are cut every 2 s under load. Clients stay connected, miss nothing
// and get nothing twice.
func TestFanoutConnectionCut(t *testing.T) {
	t.Parallel()
	f := startFanout(t)
	end := time.Now().Add(length(12*time.Second, 20*time.Second))
	for due := time.Now(); due.Before(end); due = due.Add(2 * time.Second) {
		pause(t.Context(), time.Until(due))
		from := time.Now()
		f.proxy.Subscribers().Cut()
		f.awaitSubscribers()
		f.troubles = append(f.troubles, trouble{from, time.Now()})
	}
	f.finish()
}

// TestFanoutConnectionStalled: the pub/sub connections freeze without being closed, as behind a firewall that has
// forgotten them. The instances notice, say so in /readyz, and connect anew; clients stay connected, miss nothing and
// get nothing twice.
func TestFanoutConnectionStalled(t *testing.T) {
	t.Parallel()
	f := startFanout(t)
	for range int(length(2, 5)) {
		from := time.Now()
		stalled := f.proxy.Subscribers()
		stalled.Stall()
		f.awaitUnready()
		f.awaitSubscribers()
		f.awaitFanout()
		stalled.Cut()
		f.troubles = append(f.troubles, trouble{from, time.Now()})
		t.Logf("pub/sub stalled and mended in %v", time.Since(from).Round(time.Millisecond))
		f.load.awaitMore(100)
	}
	// For longer: what connects anew freezes too.
	from := time.Now()
	f.proxy.StallNewSubscribers(true)
	stalled := f.proxy.Subscribers()
	stalled.Stall()
	f.awaitUnready()
	f.load.awaitMore(300)
	f.mustBeUnready()
	f.proxy.StallNewSubscribers(false)
	f.awaitSubscribers()
	f.awaitFanout()
	stalled.Cut()
	f.troubles = append(f.troubles, trouble{from, time.Now()})
	f.finish()
}

// fanoutCheck tells what an instance says of its fan-out.
func fanoutCheck(i *instance) (unready bool, got string) {
	status, view, err := i.readyz()
	check, known := view.Checks["fanout"]
	got = fmt.Sprintf("%s: %d, checks %+v, %v", i.name, status, view.Checks, err)
	return err == nil && status == http.StatusServiceUnavailable && known && !check.OK && len(strings.Fields(check.Detail)) >= 3, got
}

// awaitUnready waits until every instance has said in words that its fan-out is broken.
func (f *fanout) awaitUnready() {
	f.t.Helper()
	said := make(map[*instance]bool)
	await(f.t, patience, "unready, with the reason, while pub/sub is stalled", func() (bool, any) {
		var last []string
		for _, i := range f.instances {
			unready, got := fanoutCheck(i)
			if unready && !said[i] {
				said[i] = true
				f.t.Log(got)
			}
			last = append(last, got)
		}
		return len(said) == len(f.instances), strings.Join(last, "; ")
	})
}

func (f *fanout) mustBeUnready() {
	f.t.Helper()
	for _, i := range f.instances {
		if unready, got := fanoutCheck(i); !unready {
			f.t.Errorf("readyz while nothing gets through: got %s; want 503 and fanout false", got)
		}
	}
}

// awaitFanout waits until every instance is ready again.
func (f *fanout) awaitFanout() {
	f.t.Helper()
	for _, i := range f.instances {
		await(f.t, patience, i.name+" is ready again", func() (bool, any) {
			status, view, err := i.readyz()
			return err == nil && status == http.StatusOK && view.Checks["fanout"].OK, fmt.Sprint(status, view, err)
		})
	}
}
