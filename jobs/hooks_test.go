package jobs_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
	"hearth/jobs"
)

// outbox is mysqlrepo's outbox over maps, and a receiver that notes what it is told.
type outbox struct {
	mu        sync.Mutex // guards all below; each request is one atomic step
	positions map[string]*domain.Untold
	rows      map[string]map[int64]int64 // seq → when it was stored
	holes     map[string]domain.Holes
	events    []domain.OutboxRow
	lastID    int64
	down      error // of MySQL

	stuck  bool                            // MySQL never answers which messages of a run there are
	read   func()                          // called between the reads of messages and of rows
	answer func(group, event string) error // of the receiver; nil: it takes everything
	takes  time.Duration                   // it takes this long to answer
	asked  []string                        // all that it was asked, as "group event"
	heard  map[string][]string             // what it took, by group
	at     map[string][]time.Time          // when it was asked about a group
	now    int                             // requests under way
	most   int                             // of now at the same time
	within map[string]int                  // of now, by group
	mostIn int                             // of within
}

func newOutbox() *outbox {
	return &outbox{
		positions: map[string]*domain.Untold{}, rows: map[string]map[int64]int64{}, holes: map[string]domain.Holes{},
		heard: map[string][]string{}, at: map[string][]time.Time{}, within: map[string]int{},
	}
}

// store makes messages rows, as mysqlrepo's queueMessages does.
func (o *outbox) store(group string, seqs ...int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.insert(group, seqs...)
}

// insert is store, called with mu held.
func (o *outbox) insert(group string, seqs ...int64) {
	if o.positions[group] == nil {
		o.positions[group], o.rows[group] = &domain.Untold{Told: seqs[0] - 1}, map[int64]int64{}
	}
	p := o.positions[group]
	for _, seq := range seqs {
		if _, there := o.rows[group][seq]; !there && seq <= p.Told {
			o.queue(domain.OutboxRow{Group: group, Event: domain.HookAfterSend, From: seq, To: seq})
		}
		o.rows[group][seq] = time.Now().UnixMilli()
		p.Last = max(p.Last, seq)
	}
}

// queue is called with mu held.
func (o *outbox) queue(r domain.OutboxRow) {
	o.lastID++
	r.ID, r.NextMS = o.lastID, time.Now().UnixMilli()
	if r.Event != domain.HookAfterSend {
		r.Data = []byte(fmt.Sprintf(`{"group":%q,"event":"%s %d"}`, r.Group, r.Event, cmp.Or(r.From, r.ID)))
	}
	o.events = append(o.events, r)
}

func (o *outbox) add(rows ...domain.OutboxRow) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range rows {
		o.queue(r)
	}
}

func (o *outbox) UntoldGroups(_ context.Context, partitions []int, after string, limit int) ([]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := make(map[string]bool)
	for group, p := range o.positions {
		found[group] = p.Told < p.Last
	}
	for _, r := range o.events {
		found[r.Group] = found[r.Group] || r.DeadMS == 0
	}
	var groups []string
	for _, group := range slices.Sorted(maps.Keys(found)) {
		if found[group] && group > after && len(groups) < limit && slices.Contains(partitions, domain.Partitions(4).Of(group)) {
			groups = append(groups, group)
		}
	}
	if o.down != nil {
		return nil, o.down
	}
	return groups, nil
}

func (o *outbox) UntoldMessages(ctx context.Context, group string, limit int) (domain.Untold, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.positions[group] == nil {
		return domain.Untold{}, o.down
	}
	u := *o.positions[group]
	u.Messages, u.Holes = o.messages(group, u.Told+1, u.Last, limit), o.holes[group]
	return u, o.down
}

func (o *outbox) messages(group string, from, to int64, limit int) (list []domain.UntoldMessage) {
	for _, seq := range slices.Sorted(maps.Keys(o.rows[group])) {
		if seq >= from && seq <= to && len(list) < limit {
			tail := []byte(`"event":"` + strconv.FormatInt(seq, 10) + `"}`)
			list = append(list, domain.UntoldMessage{Record: domain.Record{Group: group, Seq: seq, Tail: tail}, StoredMS: o.rows[group][seq]})
		}
	}
	return list
}

func (o *outbox) MessagesToTell(ctx context.Context, group string, from, to int64, limit int) ([]domain.UntoldMessage, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stuck {
		o.mu.Unlock()
		<-ctx.Done()
		o.mu.Lock()
		return nil, ctx.Err()
	}
	return o.messages(group, from, to, limit), o.down
}

func (o *outbox) OutboxRows(_ context.Context, group string, limit int) (list []domain.OutboxRow, err error) {
	if o.read != nil {
		o.read()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.events {
		if r.Group == group && r.DeadMS == 0 && len(list) < limit {
			list = append(list, r)
		}
	}
	return list, o.down
}

func (o *outbox) ToldMessages(_ context.Context, group string, seq int64, passed domain.Holes) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := o.positions[group]; o.down == nil && p.Told < seq {
		for _, h := range passed {
			for _, m := range o.messages(group, max(h.From, p.Told+1), h.To, 1000) {
				o.queue(domain.OutboxRow{Group: group, Event: domain.HookAfterSend, From: m.Seq, To: m.Seq})
			}
		}
		p.Told = seq
	}
	return o.down
}

func (o *outbox) ToldRows(_ context.Context, ids []int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		o.events = slices.DeleteFunc(o.events, func(r domain.OutboxRow) bool { return slices.Contains(ids, r.ID) })
	}
	return o.down
}

func (o *outbox) row(id int64, change func(*domain.OutboxRow)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.events {
		if o.events[i].ID == id && o.down == nil {
			change(&o.events[i])
		}
	}
	return o.down
}

func (o *outbox) ToldPart(_ context.Context, id, from int64) error {
	return o.row(id, func(r *domain.OutboxRow) { r.From = max(r.From, from) })
}

func (o *outbox) GiveUpRow(_ context.Context, id int64, reason string) error {
	return o.row(id, func(r *domain.OutboxRow) { r.DeadMS, r.Reason = time.Now().UnixMilli(), reason })
}

func (o *outbox) GiveUpPart(_ context.Context, r domain.OutboxRow, seq int64, reason string) error {
	dead := r
	err := o.row(r.ID, func(r *domain.OutboxRow) {
		r.From = seq + 1
		dead.ID, dead.From, dead.To, dead.DeadMS, dead.Reason = 0, seq, seq, 1, reason
	})
	if dead.DeadMS != 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, dead)
	}
	return err
}

func (o *outbox) GiveUpMessages(_ context.Context, group string, from, to, _ int64, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		o.positions[group].Told = max(o.positions[group].Told, to)
		o.events = append(o.events, domain.OutboxRow{Group: group, Event: domain.HookAfterSend, From: from, To: to, DeadMS: 1, Reason: reason})
	}
	return o.down
}

func (o *outbox) HookBacklog(context.Context) (untold, dead int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.events)), 0, o.down
}

// Post is the receiver.
func (o *outbox) Post(_ context.Context, h domain.Hook) error {
	_, rest, _ := strings.Cut(string(h.Data), `"group":"`)
	group, rest, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, `"event":"`)
	event, _, _ := strings.Cut(rest, `"`)
	o.mu.Lock()
	o.asked, o.at[group] = append(o.asked, group+" "+event), append(o.at[group], time.Now())
	o.now++
	o.within[group]++
	o.most, o.mostIn = max(o.most, o.now), max(o.mostIn, o.within[group])
	takes := o.takes
	o.mu.Unlock()
	time.Sleep(takes)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now--
	o.within[group]--
	if o.answer != nil {
		if err := o.answer(group, event); err != nil {
			return err
		}
	}
	o.heard[group] = append(o.heard[group], event)
	return nil
}

func (o *outbox) set(answer func(group, event string) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *outbox) heardOf(group string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.heard[group])
}

func (o *outbox) requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// dead lists what was given up.
func (o *outbox) dead() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.events {
		if r.DeadMS != 0 {
			list = append(list, fmt.Sprintf("%s %s %d-%d %s", r.Group, r.Event, r.From, r.To, r.Reason))
		}
	}
	return list
}

var (
	hooksConfig = jobs.HooksConfig{Workers: 4, MinRetry: time.Second, MaxRetry: time.Hour, GiveUp: 24 * time.Hour}
	errRefused  = errors.New("status 500")
)

func fails(string, string) error { return errRefused }

func failsFor(bad ...string) func(group, event string) error {
	return func(group, event string) error {
		if slices.Contains(bad, group) || slices.Contains(bad, group+" "+event) {
			return errRefused
		}
		return nil
	}
}

// tells runs the job of an instance that holds every lease, within a bubble.
func tells(t *testing.T, o *outbox, cfg jobs.HooksConfig) (stop func()) {
	t.Helper()
	i := newInstance(newWorld(), "a", is(atGen(1)))
	i.leased(t)
	return startHooks(t, o, i, cfg)
}

func startHooks(t *testing.T, o *outbox, i *instance, cfg jobs.HooksConfig) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	job := jobs.NewHooks(o, o, i.leases, 4, cfg, zerolog.Nop(), prometheus.NewRegistry())
	go func() { done <- job.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

func numbers(from, to int64) (list []int64) {
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

func words(from, to int64) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, strconv.FormatInt(n, 10))
	}
	return list
}

// settle lets so much time pass, and what is due then.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestMessagesAreToldInOrderAndGroupsBesideEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.takes = time.Millisecond
		groups := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		for _, g := range groups {
			o.store(g, numbers(1, 700)...)
		}
		tells(t, o, hooksConfig)
		settle(5 * time.Second)
		for _, g := range groups {
			require.Equal(t, words(1, 700), o.heardOf(g))
		}
		require.Equal(t, 4, o.most, "as many at a time as there are workers")
		require.Equal(t, 1, o.mostIn, "and one of a group")
		settle(time.Minute)
		require.Equal(t, len(groups)*700, o.requests(), "nothing is told twice")
	})
}

func TestAFailingEventHoldsUpItsOwnGroupOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(failsFor("a 3"))
		o.store("a", numbers(1, 5)...)
		o.store("b", numbers(1, 5)...)
		cfg := hooksConfig
		cfg.MaxRetry = 10 * time.Minute
		tells(t, o, cfg)
		settle(10 * time.Second)
		require.Equal(t, words(1, 2), o.heardOf("a"))
		require.Equal(t, words(1, 5), o.heardOf("b"))
		settle(time.Hour)
		at := o.at["a"][2:]
		require.Less(t, len(at), 40, "it is asked less and less often")
		for i := range len(at) - 1 {
			pause := at[i+1].Sub(at[i])
			want := min(time.Duration(math.Pow(1.25, float64(i))*float64(time.Second)), 10*time.Minute)
			require.True(t, pause >= want*3/4 && pause <= want+time.Second, "pause %d: %v, want %v less a quarter at most", i, pause, want)
		}
		o.store("b", 6)
		settle(time.Second)
		require.Equal(t, words(1, 6), o.heardOf("b"))
		o.set(nil)
		settle(10 * time.Minute)
		require.Equal(t, words(1, 5), o.heardOf("a"))
	})
}

func TestWhatFailsForTooLongIsGivenUpAndTheGroupGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.add(domain.OutboxRow{Group: "b", Event: domain.HookGroupChanged}, domain.OutboxRow{Group: "b", Event: domain.HookMemberChanged})
		o.set(failsFor("a 3", "b group_changed 1"))
		o.store("a", numbers(1, 5)...)
		cfg := hooksConfig
		cfg.GiveUp = 40 * time.Minute
		tells(t, o, cfg)
		settle(35 * time.Minute)
		require.Empty(t, o.dead())
		settle(40 * time.Minute)
		require.ElementsMatch(t, []string{"a after_send 3-3 status 500", "b group_changed 0-0 status 500"}, o.dead())
		require.Equal(t, []string{"1", "2", "4", "5"}, o.heardOf("a"))
		require.Equal(t, []string{"member_changed 2"}, o.heardOf("b"))
	})
}

func TestAReceiverThatIsGoneIsToldNothingTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(func(_, event string) error {
			if event == "2" {
				return fmt.Errorf("status 410: %w", jobs.ErrReceiverGone)
			}
			return nil
		})
		o.store("a", numbers(1, 3)...)
		tells(t, o, hooksConfig)
		settle(10 * time.Second)
		require.Equal(t, []string{"a after_send 2-2 status 410: the receiver wants no more"}, o.dead())
		require.Equal(t, []string{"1", "3"}, o.heardOf("a"))
	})
}

func TestAReceiverThatFailsForAllIsAskedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(fails)
		for n := range 1000 {
			o.store(fmt.Sprint("g", n), 1, 2)
		}
		tells(t, o, hooksConfig)
		settle(time.Minute)
		before := o.requests()
		require.Less(t, before, 30)
		settle(10 * time.Minute)
		require.Less(t, o.requests()-before, 70, "one in ten seconds")
		o.set(nil)
		settle(time.Minute)
		for n := range 1000 {
			require.Equal(t, words(1, 2), o.heardOf(fmt.Sprint("g", n)), "all are told at once when it is back")
		}
	})
}

func TestAllGoOnAtOnceWhenTheReceiverAnswersAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(fails)
		for n := range 20 {
			o.store(fmt.Sprint("g", n), 1)
		}
		tells(t, o, hooksConfig)
		settle(10 * time.Minute)
		var answered time.Time
		o.set(func(string, string) error {
			if answered.IsZero() {
				answered = time.Now()
			}
			return nil
		})
		settle(20 * time.Second)
		for n := range 20 {
			at := o.at[fmt.Sprint("g", n)]
			require.Less(t, at[len(at)-1].Sub(answered), time.Second)
		}
	})
}

// The receiver fails for a moment, while every worker asks it.
func TestAMomentsFailureOfTheReceiverIsOverSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.takes = 100 * time.Millisecond
		o.set(fails)
		for n := range 20 {
			o.store(fmt.Sprint("g", n), 1)
		}
		cfg := hooksConfig
		cfg.Workers = 16
		tells(t, o, cfg)
		settle(500 * time.Millisecond)
		o.set(nil)
		settle(4 * time.Second)
		for n := range 20 {
			require.Equal(t, words(1, 1), o.heardOf(fmt.Sprint("g", n)))
		}
	})
}

func TestWhoWantsNoMoreOfSomeEventsIsToldTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(func(_, event string) error {
			if event == "1" {
				return jobs.ErrReceiverGone
			}
			return nil
		})
		for n := range 20 {
			o.store(fmt.Sprint("g", n), numbers(1, 5)...)
		}
		tells(t, o, hooksConfig)
		settle(5 * time.Second)
		require.Len(t, o.dead(), 20)
		for n := range 20 {
			require.Equal(t, words(2, 5), o.heardOf(fmt.Sprint("g", n)))
		}
	})
}

// While the receiver fails it may be a group's own event that fails as well: it must not be asked by that one for ever.
func TestAReceiverIsBackThoughSomeEventsGoOnFailing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(fails)
		for _, g := range []string{"a", "b", "c", "d"} {
			o.store(g, 1)
		}
		tells(t, o, hooksConfig)
		settle(time.Hour)
		o.set(failsFor("a", "b", "c"))
		settle(time.Minute)
		require.Equal(t, words(1, 1), o.heardOf("d"))
		o.store("e", numbers(1, 3)...)
		settle(2 * time.Minute)
		require.Equal(t, words(1, 3), o.heardOf("e"))
	})
}

// Groups whose own events are at fault make the receiver look as if it failed for all. The others must not wait for the turn of
// each of them.
func TestGroupsThatGoOnFailingDoNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(func(group, _ string) error {
			if strings.HasPrefix(group, "bad") {
				return errRefused
			}
			return nil
		})
		for n := range 50 {
			o.store(fmt.Sprint("bad", n), 1)
		}
		tells(t, o, hooksConfig)
		for n := range 5 {
			settle(10 * time.Minute)
			for _, g := range []string{fmt.Sprint("a", n), fmt.Sprint("z", n)} {
				o.store(g, 1)
				settle(11 * time.Second)
				require.Equal(t, words(1, 1), o.heardOf(g))
			}
		}
	})
}

func TestWhatADeadReceiverMissesForTooLongIsGivenUpInRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(fails)
		for _, g := range []string{"a", "b", "c"} {
			o.store(g, numbers(1, 40)...)
		}
		cfg := hooksConfig
		cfg.GiveUp = time.Hour
		tells(t, o, cfg)
		settle(30 * time.Minute)
		o.store("a", 41)
		settle(31 * time.Minute)
		require.ElementsMatch(t, []string{"a after_send 1-40 status 500", "b after_send 1-40 status 500", "c after_send 1-40 status 500"}, o.dead())
		o.set(nil)
		settle(time.Minute)
		require.Equal(t, words(41, 41), o.heardOf("a"))
	})
}

func TestAGapIsWaitedForUnlessItIsAHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.store("a", 1, 2, 5)
		o.holes["b"] = domain.Holes{{From: 3, To: 4, Reason: domain.HoleLost}}
		o.store("b", 1, 2, 5)
		tells(t, o, hooksConfig)
		settle(5 * time.Second)
		require.Equal(t, words(1, 2), o.heardOf("a"))
		require.Equal(t, []string{"1", "2", "5"}, o.heardOf("b"))
		o.store("a", 3, 4)
		settle(time.Second)
		require.Equal(t, words(1, 5), o.heardOf("a"))

		o.store("a", 8)
		settle(9 * time.Second)
		require.Equal(t, words(1, 5), o.heardOf("a"))
		settle(3 * time.Second)
		require.Equal(t, "8", o.heardOf("a")[5], "it does not wait for ever")
		o.store("a", 6, 7)
		settle(time.Second)
		require.Equal(t, []string{"8", "6", "7"}, o.heardOf("a")[5:], "what comes all the same is told")
	})
}

func TestWhatComesIntoAGapWhileItIsPassedIsTold(t *testing.T) {
	t.Parallel()
	for name, holes := range map[string]domain.Holes{
		"between": {{From: 2, To: 4, Reason: domain.HoleLost}},
		"waited":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox()
				o.set(func(group, event string) error { // with the outbox locked
					if event == "5" && len(o.rows[group]) == 3 {
						o.insert(group, 3)
						return errRefused
					}
					return nil
				})
				o.holes["a"] = holes
				o.store("a", 1, 5, 6)
				tells(t, o, hooksConfig)
				settle(time.Minute)
				require.ElementsMatch(t, []string{"1", "3", "5", "6"}, o.heardOf("a"))
			})
		})
	}
}

func TestAHoleAtTheEndIsPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.holes["a"] = domain.Holes{{From: 2, To: 3, Reason: domain.HoleExpired}}
		o.store("a", 1, 2, 3)
		delete(o.rows["a"], 2) // expired before they were told
		delete(o.rows["a"], 3)
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Equal(t, words(1, 1), o.heardOf("a"))
		require.Equal(t, int64(3), o.positions["a"].Told)
	})
}

func TestAChangeComesBehindWhatWasStoredBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(failsFor("a 2"))
		o.store("a", numbers(1, 120)...)
		o.add(
			domain.OutboxRow{Group: "a", Event: domain.HookGroupChanged, To: 70},
			domain.OutboxRow{Group: "a", Event: domain.HookMemberChanged, To: 70},
			domain.OutboxRow{Group: "a", Event: domain.HookMemberChanged, To: 110},
			domain.OutboxRow{Group: "b", Event: domain.HookGroupChanged},
		)
		tells(t, o, hooksConfig)
		settle(10 * time.Second)
		require.Equal(t, words(1, 1), o.heardOf("a"), "they wait for the message that fails")
		require.Equal(t, []string{"group_changed 4"}, o.heardOf("b"))
		o.set(nil)
		settle(time.Minute)
		want := append(words(1, 70), "group_changed 1", "member_changed 2")
		want = append(append(want, words(71, 110)...), "member_changed 3")
		require.Equal(t, append(want, words(111, 120)...), o.heardOf("a"))
	})
}

func TestChangesComeBeforeMessagesAndRecallsBehindTheirs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.add(
			domain.OutboxRow{Group: "a", Event: domain.HookGroupChanged},
			domain.OutboxRow{Group: "a", Event: domain.HookRecalled, From: 2, To: 2},
			domain.OutboxRow{Group: "a", Event: domain.HookMemberChanged},
		)
		o.store("a", 1, 2, 3)
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Equal(t, []string{"group_changed 1", "member_changed 3", "1", "2", "3", "recalled 2"}, o.heardOf("a"))
	})
}

func TestARecallWaitsForItsMessageThatHasJustCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.store("a", 1)
		o.read = sync.OnceFunc(func() {
			o.store("a", 2)
			o.add(domain.OutboxRow{Group: "a", Event: domain.HookRecalled, From: 2, To: 2})
		})
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Equal(t, []string{"1", "2", "recalled 2"}, o.heardOf("a"))
	})
}

// Its message was stored while there were no webhooks.
func TestARecallDoesNotWaitForAMessageThatIsNotToBeTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.add(domain.OutboxRow{Group: "a", Event: domain.HookRecalled, From: 2, To: 2})
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Equal(t, []string{"recalled 2"}, o.heardOf("a"))
	})
}

func TestAReasonIsNotCutWithinACharacter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(func(string, string) error {
			return fmt.Errorf("x%s: %w", strings.Repeat("é", 200), jobs.ErrReceiverGone)
		})
		o.store("a", 1)
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Equal(t, []string{"a after_send 1-1 x" + strings.Repeat("é", 99)}, o.dead())
	})
}

func TestARunIsToldInParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.store("a", numbers(1, 400)...)
		o.positions["a"].Told = 300
		o.add(domain.OutboxRow{Group: "a", Event: domain.HookAfterSend, From: 101, To: 290})
		o.set(failsFor("a 203"))
		tells(t, o, hooksConfig)
		settle(time.Second)
		require.Contains(t, o.heardOf("a"), "202")
		o.set(nil)
		settle(5 * time.Second)
		var run, turn []string
		for _, event := range o.heardOf("a") {
			if n, _ := strconv.Atoi(event); n <= 300 {
				run = append(run, event)
			} else {
				turn = append(turn, event)
			}
		}
		require.Equal(t, words(101, 290), run)
		require.Equal(t, words(301, 400), turn)
		require.Empty(t, o.events)
	})
}

func TestAMessageOfARunIsGivenUpAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.set(func(_, event string) error {
			if event == "2" || event == "5" {
				return jobs.ErrReceiverGone
			}
			return nil
		})
		o.store("a", numbers(1, 5)...)
		o.positions["a"].Told = 5
		o.add(domain.OutboxRow{Group: "a", Event: domain.HookAfterSend, From: 1, To: 5})
		tells(t, o, hooksConfig)
		settle(10 * time.Second)
		require.Equal(t, []string{"1", "3", "4"}, o.heardOf("a"))
		require.Equal(t, []string{"a after_send 2-2 the receiver wants no more", "a after_send 5-5 the receiver wants no more"}, o.dead())
		require.Len(t, o.events, 2, "the row itself is told")
	})
}

func TestARunThatHangsIsReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.store("a", 1, 2)
		o.positions["a"].Told = 2
		o.add(domain.OutboxRow{Group: "a", Event: domain.HookAfterSend, From: 1, To: 2})
		o.stuck = true
		tells(t, o, hooksConfig)
		settle(time.Second)
		o.mu.Lock()
		o.stuck = false
		o.mu.Unlock()
		settle(time.Minute)
		require.Equal(t, words(1, 2), o.heardOf("a"))
	})
}

func TestWhatIsUnderWayIsFinishedAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.takes = 3 * time.Second
		o.store("a", numbers(1, 9)...)
		stop := tells(t, o, hooksConfig)
		settle(4 * time.Second) // the second is under way
		stop()
		require.Equal(t, words(1, 2), o.heardOf("a"))
		require.Equal(t, int64(2), o.positions["a"].Told, "the next instance goes on behind it")
	})
}

func TestOnlyTheHolderTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, o := newWorld(), newOutbox()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		stop := first.leased(t)
		second.leased(t)
		o.store("a", 1)
		startHooks(t, o, second, hooksConfig)
		settle(10 * time.Second)
		require.Empty(t, o.heardOf("a"))
		stop()
		first.leases.Release(t.Context())
		settle(2 * time.Second)
		require.Equal(t, words(1, 1), o.heardOf("a"))
	})
}

func TestEventsWaitWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.store("a", 1, 2)
		o.down = errCut
		tells(t, o, hooksConfig)
		settle(time.Minute)
		require.Empty(t, o.heardOf("a"))
		o.mu.Lock()
		o.down = nil
		o.mu.Unlock()
		settle(10 * time.Second)
		require.Equal(t, words(1, 2), o.heardOf("a"))
	})
}

// TestEachEventIsToldInOrder: a receiver that fails at random, a MySQL that does, batches that overlap and come in any order
// within a group's gaps, instances that end and begin and believe in leases that are not theirs any more.
func TestEachEventIsToldInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		var o *outbox
		var last map[string]int64
		var changes map[string]int
		synctest.Test(t, func(t *testing.T) { o, last, changes = luckyTelling(t, seed) }) // which rt must not end
		toldInOrder(rt, o, last, changes)
	})
}

// luckyTelling returns how far each group's messages were stored, and how many changes it had.
func luckyTelling(t *testing.T, seed uint64) (o *outbox, last map[string]int64, changes map[string]int) {
	o = newOutbox()
	r, luck := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	o.takes = time.Duration(r.IntN(30)) * time.Millisecond
	failures := r.IntN(60)
	o.set(func(string, string) error { // with the outbox locked
		if luck.IntN(100) < failures {
			return errRefused
		}
		return nil
	})
	groups := []string{"a", "b", "c", "d", "e"}
	// Two instances that both believe that they hold every lease.
	cfg := jobs.HooksConfig{Workers: 3, MinRetry: 100 * time.Millisecond, MaxRetry: time.Second, GiveUp: 24 * time.Hour}
	stops := []func(){tells(t, o, cfg), tells(t, o, cfg)}
	last, changes = make(map[string]int64), make(map[string]int)
	for range 25 {
		g := groups[r.IntN(len(groups))]
		n := int64(1 + r.IntN(70))
		switch what := r.IntN(10); {
		case what == 0:
			i := r.IntN(2)
			stops[i]()
			stops[i] = tells(t, o, cfg)
		case what == 1:
			o.add(domain.OutboxRow{Group: g, Event: domain.HookMemberChanged})
			changes[g]++
		case what == 2 && last[g] > 0: // another instance's journal is ahead of the log
			o.store(g, last[g]+2)
			settle(300 * time.Millisecond)
			o.store(g, last[g]+1)
			last[g] += 2
		default: // a batch, and some of it once more
			o.store(g, numbers(max(1, last[g]-5), last[g]+n)...)
			last[g] += n
		}
		settle(time.Duration(n) * 10 * time.Millisecond)
	}
	o.set(nil)
	settle(time.Minute)
	for _, stop := range stops {
		stop()
	}
	return o, last, changes
}

func toldInOrder(rt *rapid.T, o *outbox, last map[string]int64, changes map[string]int) {
	for g := range last {
		var messages, members []string
		seen := make(map[string]bool)
		for _, event := range o.heardOf(g) { // first deliveries
			if seen[event] {
				continue
			}
			seen[event] = true
			if strings.HasPrefix(event, domain.HookMemberChanged) {
				members = append(members, event)
			} else {
				messages = append(messages, event)
			}
		}
		require.Equal(rt, words(1, last[g]), messages, g)
		require.Len(rt, members, changes[g], g)
		require.True(rt, slices.IsSortedFunc(members, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		}), "%s: %v", g, members)
	}
	require.Empty(rt, o.dead())
}
