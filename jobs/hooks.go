package jobs

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	hooksInterval = 200 * time.Millisecond
	hooksPage     = 500 // groups looked at in one go
	hooksBatch    = 50  // events of a group read in one go
	hooksTurn     = 10  // batches until other groups have their turn
)

// ErrReceiverGone is what a HookPoster's error wraps when the receiver wants no more of an event (HTTP 410).
var ErrReceiverGone = errors.New("the receiver wants no more")

// HookPoster tells an event once. What its errors say is stored: nothing of the event, no secret.
type HookPoster interface {
	Post(ctx context.Context, h domain.Hook) error
}

// HookOutbox is the MySQL side of webhooks.
type HookOutbox interface {
	// UntoldGroups names groups of partitions with something to tell, above after, ascending.
	UntoldGroups(ctx context.Context, partitions []int, after string, limit int) ([]string, error)
	UntoldMessages(ctx context.Context, group string, limit int) (domain.Untold, error)
	// OutboxRows are what is to be told of a group beside its messages, in order.
	OutboxRows(ctx context.Context, group string, limit int) ([]domain.OutboxRow, error)
	// MessagesToTell are the messages of a row of after_send.
	MessagesToTell(ctx context.Context, group string, from, to int64, limit int) ([]domain.UntoldMessage, error)

	// ToldMessages notes how far a group's messages were told. passed are the seqs below at which there was none: what has come
	// there meanwhile gets a row.
	ToldMessages(ctx context.Context, group string, seq int64, passed domain.Holes) error
	ToldRows(ctx context.Context, ids []int64) error
	ToldPart(ctx context.Context, id, from int64) error
	GiveUpMessages(ctx context.Context, group string, from, to, timeMS int64, reason string) error
	GiveUpRow(ctx context.Context, id int64, reason string) error
	// GiveUpPart gives up the message at seq of a row of after_send.
	GiveUpPart(ctx context.Context, r domain.OutboxRow, seq int64, reason string) error
	HookBacklog(ctx context.Context) (untold, dead int64, err error)
}

// HooksConfig is how the receiver is treated.
type HooksConfig struct {
	Workers  int           // groups told beside each other
	MinRetry time.Duration // pause behind a group's first failure; doubled from one to the next
	MaxRetry time.Duration
	GiveUp   time.Duration // age at which an event that fails is given up
}

// Hooks is the job that tells the webhooks' receiver what happened: each event at least once, those of a group one after the
// other, groups beside each other. An event that fails holds up its own group, until it is given up. While the receiver
// fails for several groups it is asked by one at a time.
type Hooks struct {
	outbox     HookOutbox
	poster     HookPoster
	leases     *Leases
	partitions domain.Partitions
	cfg        HooksConfig
	log        zerolog.Logger
	metrics    hookMetrics
	receiver   receiver

	mu     sync.Mutex            // guards groups
	groups map[string]*hookGroup // that are busy, have failed, or wait for a gap
}

// hookGroup is what an instance knows of a group. It is forgotten with the instance: the next one tries at once.
type hookGroup struct {
	busy  bool
	tries int       // that failed, in a row
	until time.Time // not to be told before
	gap   time.Time // since when it waits for a gap; zero: it does not
}

// NewHooks makes the job.
func NewHooks(outbox HookOutbox, poster HookPoster, leases *Leases, n domain.Partitions, cfg HooksConfig,
	log zerolog.Logger, reg prometheus.Registerer,
) *Hooks {
	return &Hooks{
		outbox: outbox, poster: poster, leases: leases, partitions: n, cfg: cfg, log: log,
		metrics: newHookMetrics(reg), groups: make(map[string]*hookGroup),
	}
}

// Run tells until ctx is done, and then brings the events to their end that are under way.
func (h *Hooks) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, h.cfg.Workers)
	var counted time.Time
	backoff, after := time.Duration(0), ""
	for ctx.Err() == nil {
		if time.Since(counted) >= countEvery {
			counted = time.Now()
			h.count(ctx)
		}
		pause, err := hooksInterval, error(nil)
		if h.receiver.failing() {
			after, err = h.probe(ctx, after)
			pause = h.receiver.probed()
		} else {
			after, err = h.round(ctx, after, slots, &work)
		}
		if err != nil && ctx.Err() == nil {
			backoff = nextBackoff(max(backoff, hooksInterval))
			pause = max(pause, backoff)
			h.log.Warn().Err(err).Dur("retry_in", pause).Msg("events for webhooks not read, they wait")
		} else {
			backoff = 0
		}
		wait(ctx, pause)
	}
	return nil
}

// round has the next groups told by as many workers as there are; next is where the round behind it goes on.
func (h *Hooks) round(ctx context.Context, after string, slots chan struct{}, work *sync.WaitGroup) (next string, err error) {
	groups, err := h.list(ctx, after, hooksPage)
	for _, group := range groups {
		if !h.begin(group, false) {
			continue
		}
		select {
		case slots <- struct{}{}:
			work.Go(func() {
				defer func() { <-slots }()
				h.tell(ctx, group, hooksTurn)
			})
		case <-ctx.Done():
			h.end(group, telling{})
			return "", nil
		}
		if h.receiver.failing() {
			return group, nil
		}
	}
	if len(groups) == hooksPage {
		next = groups[hooksPage-1]
	}
	return next, err
}

// probe has one group told: one that has not failed, or else each time another. One whose event is at fault says nothing about
// the receiver.
func (h *Hooks) probe(ctx context.Context, after string) (next string, err error) {
	groups, err := h.list(ctx, "", hooksPage)
	if err != nil {
		return after, err
	}
	if i := slices.IndexFunc(groups, h.unknown); i >= 0 {
		h.tellOne(ctx, groups[i])
		return after, nil
	}
	groups, err = h.list(ctx, after, 1)
	if err != nil {
		return after, err
	}
	if len(groups) == 0 {
		if after == "" { // nothing is left to find out with
			h.receiver.answers()
		}
		return "", nil
	}
	h.tellOne(ctx, groups[0])
	return groups[0], nil
}

// tellOne tells a group a batch, whether its time has come or not.
func (h *Hooks) tellOne(ctx context.Context, group string) {
	if h.begin(group, true) {
		h.tell(ctx, group, 1)
	}
}

// unknown tells whether nothing is known of a group: it has not failed.
func (h *Hooks) unknown(group string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.groups[group] == nil
}

func (h *Hooks) list(ctx context.Context, after string, limit int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return h.outbox.UntoldGroups(ctx, h.leases.Held(), after, limit)
}

// mine tells whether this instance tells a group.
func (h *Hooks) mine(group string) bool {
	return slices.Contains(h.leases.Held(), h.partitions.Of(group))
}

// begin takes a group, unless it is busy, or its time has not come and that counts.
func (h *Hooks) begin(group string, anyTime bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[group]
	if g == nil {
		g = new(hookGroup)
		h.groups[group] = g
	}
	if g.busy || !anyTime && time.Now().Before(g.until) {
		return false
	}
	g.busy = true
	return true
}

// tell tells what there is of a group, a few batches at most.
func (h *Hooks) tell(ctx context.Context, group string, batches int) {
	t := telling{Hooks: h, group: group}
	for t.more = true; t.more && batches > 0 && ctx.Err() == nil && h.mine(group); batches-- {
		t.batch(ctx)
	}
	h.end(group, t)
}

// end lets a group go, to be taken again when its time has come.
func (h *Hooks) end(group string, t telling) {
	if t.told > 0 && h.receiver.answers() {
		h.log.Info().Msg("the receiver of webhooks answers again")
		h.hurry()
	}
	// Who is gone for an event has answered.
	if t.failed != nil && !errors.Is(t.failed, ErrReceiverGone) && h.receiver.fails(group) {
		h.log.Error().Err(t.failed).Msg("the receiver of webhooks fails for several groups, it is asked by one at a time until it answers")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[group]
	g.busy = false
	switch err := errors.Join(t.failed, t.unread); {
	case err != nil:
		if t.told > 0 || t.givenUp { // another event than the last time
			g.tries = 0
		}
		g.tries++
		pause := h.backoff(g.tries)
		g.until = time.Now().Add(pause)
		h.log.Warn().Err(err).Str("group", group).Int("tries", g.tries).Dur("retry_in", pause).Msg("event not told to the webhooks' receiver")
	case t.gap && !t.moved && !g.gap.IsZero(): // still the same
	case t.gap:
		*g = hookGroup{gap: time.Now()}
	default:
		delete(h.groups, group)
	}
}

// hurry has all groups told again that waited because the receiver failed. That they failed stays known: it may be their own
// events' fault.
func (h *Hooks) hurry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for group, g := range h.groups {
		if !g.busy && !h.mine(group) { // another instance tells it by now
			delete(h.groups, group)
			continue
		}
		g.tries, g.until = min(g.tries, 1), time.Time{}
	}
}

// backoff grows by a quarter from try to try, less up to a quarter so that groups do not retry in step: a receiver that comes
// back is found after a fourth of the time that it was away, at the latest, and is asked some 60 times on the first day while it does not.
func (h *Hooks) backoff(tries int) time.Duration {
	d := time.Duration(min(float64(h.cfg.MinRetry)*math.Pow(1.25, float64(tries-1)), float64(h.cfg.MaxRetry)))
	return d - rand.N(d/4+1)
}

func (h *Hooks) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	untold, dead, err := h.outbox.HookBacklog(ctx)
	if err != nil {
		h.log.Warn().Err(err).Msg("events for webhooks not counted")
		return
	}
	h.metrics.backlog.Set(float64(untold))
	h.metrics.dead.Set(float64(dead))
}
