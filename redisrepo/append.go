package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	maxCallSends   = 100    // of one partition, in one script call
	maxFlightSends = 500    // in one pipeline
	maxQueued      = 20_000 // sends waiting in an instance before it says overloaded
	sendDeadline   = 5 * time.Second
	flightTimeout  = 2 * time.Second
	retryInterval  = 50 * time.Millisecond  // between tries while appends fail
	recoveryPause  = 100 * time.Millisecond // after one that failed

	dedupeTTL   = domain.DedupeWindow
	internalTTL = time.Minute // an internal id only serves this instance's own repeats
)

// AppendConfig bounds what the append script accepts.
type AppendConfig struct {
	BacklogLimit int     // entries a partition's log may hold
	UserRate     float64 // messages a second a user; 0: no limit
	UserBurst    int
	GroupRate    float64 // messages a second a group; 0: no limit
}

// Recovery does what a script's answer asks for; domain.Recovery is it.
type Recovery interface {
	Renew(ctx context.Context, partition int, seen int64) error
	Load(ctx context.Context, group string) error
	Seed(ctx context.Context, partition int, gen int64, groups []string) error
}

// Appender is the batcher: sends that arrive while a pipeline is on its way wait for it and go together in the
// next one, one script call a partition. There is no timer: a send that comes alone goes at once.
type Appender struct {
	store    *Store
	recovery Recovery
	cfg      AppendConfig
	log      zerolog.Logger
	batch    prometheus.Histogram

	wake chan struct{}
	jobs sync.WaitGroup // recoveries under way; Run waits for them

	failing bool // appends fail at present; for the log, of Run alone

	mu       sync.Mutex // guards what follows; never held during I/O or a done
	queues   []partitionQueue
	queued   int
	stopping bool
	next     int // partition that the next flight starts with
}

// partitionQueue holds a partition's sends in the order in which they came.
type partitionQueue struct {
	sends []*pendingSend
	stale bool                // a renewal is under way: nothing goes
	held  map[string]struct{} // groups that are being loaded or seeded: their sends stay, others pass them
}

type pendingSend struct {
	domain.Append
	done     func(domain.Accepted, error)
	deadline time.Time
	err      error // of the last try that failed
	tried    int64 // generation of a try whose outcome is unknown; 0: none
}

// NewAppender makes the batcher; Run starts it.
func NewAppender(store *Store, recovery Recovery, cfg AppendConfig, log zerolog.Logger, reg prometheus.Registerer) *Appender {
	a := &Appender{
		store: store, recovery: recovery, cfg: cfg, log: log,
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_append_batch_messages", Help: "Sends in one pipeline to Redis.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}),
		wake:   make(chan struct{}, 1),
		queues: make([]partitionQueue, store.cfg.Partitions),
	}
	reg.MustRegister(a.batch)
	return a
}

// Append queues a send; see domain.Appender.
func (a *Appender) Append(send domain.Append, done func(domain.Accepted, error)) {
	p := a.store.cfg.Partitions.Of(send.Group)
	a.mu.Lock()
	if a.stopping || a.queued >= maxQueued {
		stopping := a.stopping
		a.mu.Unlock()
		if stopping {
			done(domain.Accepted{}, domain.Errorf(domain.CodeUnavailable, "this instance is shutting down"))
		} else {
			done(domain.Accepted{}, &domain.Error{Code: domain.CodeOverloaded, Message: "too many sends are waiting", RetryAfter: time.Second})
		}
		return
	}
	a.queued++
	a.queues[p].sends = append(a.queues[p].sends, &pendingSend{Append: send, done: done, deadline: time.Now().Add(sendDeadline)})
	a.mu.Unlock()
	a.signal()
}

func (a *Appender) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx is done, then answers what is still queued and returns.
func (a *Appender) Run(ctx context.Context) error {
	defer a.jobs.Wait()
	defer a.stop()
	retry := time.NewTicker(retryInterval) // for sends that wait out a failure or their deadline
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			a.drain(context.WithoutCancel(ctx))
			return nil
		case <-a.wake:
		case <-retry.C:
		}
		for ctx.Err() == nil && a.fly(ctx) {
		}
	}
}

// drain sends what was queued before the end, once around.
func (a *Appender) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	for ctx.Err() == nil && a.fly(ctx) {
	}
}

func (a *Appender) stop() {
	a.mu.Lock()
	a.stopping = true
	var left []*pendingSend
	for p := range a.queues {
		left = append(left, a.queues[p].sends...)
		a.queues[p].sends = nil
	}
	a.queued = 0
	a.mu.Unlock()
	for _, s := range left {
		s.done(domain.Accepted{}, domain.Unavailable(s.err, "Redis"))
	}
}

// call is one script call: sends of one partition.
type call struct {
	partition int
	gen       int64
	sends     []*pendingSend
	cmd       *redis.Cmd
}

// fly sends one pipeline and deals with its answers. It reports whether there was anything to send.
func (a *Appender) fly(ctx context.Context) bool {
	calls, late := a.take(time.Now())
	for _, s := range late {
		s.done(domain.Accepted{}, domain.Unavailable(s.err, "Redis or MySQL"))
	}
	if len(calls) == 0 {
		return false
	}
	n := 0
	for _, c := range calls {
		n += len(c.sends)
	}
	a.batch.Observe(float64(n))
	a.exec(ctx, calls)
	var failure error
	for _, c := range calls {
		if err := a.settle(ctx, c); err != nil {
			failure = err
		}
	}
	a.tell(failure)
	if failure != nil {
		waitOrDone(ctx, retryInterval)
	}
	return true
}

// tell logs that appends have begun to fail, and that they work again.
func (a *Appender) tell(failure error) {
	switch failing := failure != nil; {
	case failing && !a.failing:
		a.log.Warn().Err(failure).Msg("appends fail, trying again")
		a.failing = true
	case !failing && a.failing:
		a.log.Info().Msg("appends work again")
		a.failing = false
	}
}

// take chooses what goes next, in order within each group, and takes out what has waited too long.
func (a *Appender) take(now time.Time) (calls []*call, late []*pendingSend) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queued == 0 {
		return nil, nil
	}
	space := maxFlightSends
	for i := range a.queues {
		p := (a.next + i) % len(a.queues)
		q := &a.queues[p]
		if len(q.sends) == 0 {
			continue
		}
		gen := a.store.gens(p)
		sends, overdue := q.take(now, gen, min(space, maxCallSends))
		late = append(late, overdue...)
		if len(sends) > 0 {
			calls = append(calls, &call{partition: p, gen: gen, sends: sends})
			space -= len(sends)
		}
		if space == 0 {
			a.next = p + 1
			break
		}
	}
	a.queued -= len(late)
	for _, c := range calls {
		a.queued -= len(c.sends)
	}
	return calls, late
}

func (q *partitionQueue) take(now time.Time, gen int64, limit int) (ready, late []*pendingSend) {
	left := q.sends[:0]
	for _, s := range q.sends {
		_, held := q.held[s.Group]
		switch {
		case now.After(s.deadline), s.unknowable(gen):
			late = append(late, s)
		case held || q.stale || len(ready) == limit:
			left = append(left, s)
		default:
			ready = append(ready, s)
		}
	}
	clear(q.sends[len(left):])
	q.sends = left
	return ready, late
}

// unknowable tells that an earlier try may have stored the send, and that this generation cannot say: it knows the
// sends of former ones by their client_id only.
func (s *pendingSend) unknowable(gen int64) bool {
	return s.tried != 0 && s.tried != gen && s.ClientID == ""
}

// exec runs the calls in one pipeline. A server without the script gets it, and the pipeline again: nothing had
// happened.
func (a *Appender) exec(ctx context.Context, calls []*call) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	a.pipeline(ctx, calls)
	var again []*call
	for _, c := range calls {
		if isNoScript(c.cmd.Err()) {
			again = append(again, c)
		}
	}
	if len(again) == 0 {
		return
	}
	if err := appendScript.Load(ctx, a.store.appends).Err(); err != nil {
		return // the calls keep their NOSCRIPT: nothing was done, they are tried again
	}
	a.pipeline(ctx, again)
}

func (a *Appender) pipeline(ctx context.Context, calls []*call) {
	pipe := a.store.appends.Pipeline()
	for _, c := range calls {
		keys, args := a.arguments(c)
		c.cmd = pipe.EvalSha(ctx, appendScript.Hash(), keys, args...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
}

func (a *Appender) arguments(c *call) (keys []string, args []any) {
	p, gen := c.partition, c.gen
	keys = make([]string, 0, 6+6*len(c.sends))
	keys = append(keys, genKey(p), seqKey(p, gen), logKey(p, gen), persistedKey(p, gen), speakersKey(p), heatKey(p))
	args = make([]any, 0, 8+10*len(c.sends))
	args = append(args, gen, a.store.cfg.Identity, groupChannelPrefix(p), a.store.cfg.HeatWindow.Milliseconds(),
		a.cfg.BacklogLimit, a.cfg.UserRate, a.cfg.UserBurst, a.cfg.GroupRate)
	for _, s := range c.sends {
		keys = append(keys, recentKey(p, gen, s.Group), dedupeKey(p, gen, s.Dedupe), groupKey(p, s.Group),
			readKey(p, gen, s.Group), userRateKey(p, s.From), groupRateKey(p, s.Group))
		kind, ttl := "u", internalTTL
		if s.Operator != "" {
			kind = "s"
		}
		if s.ClientID != "" {
			ttl = dedupeTTL
		}
		mute := s.Mute
		if mute == "" {
			mute = "-"
		}
		args = append(args, s.Group, s.From, s.Header, s.Body, s.Hash, ttl.Milliseconds(), kind, s.ReplyTo,
			string(s.Priority), mute)
	}
	return keys, args
}

// settle answers a call's sends or puts them back. The error is that of a call whose outcome is unknown.
func (a *Appender) settle(ctx context.Context, c *call) error {
	words, err := c.cmd.StringSlice()
	if err == nil && len(words) == 1 && words[0] == "STALE" {
		a.putBack(c.partition, c.sends, nil)
		a.renew(ctx, c)
		return nil
	}
	if err == nil && len(words) != len(c.sends) {
		err = fmt.Errorf("append script answered %d of %d sends", len(words), len(c.sends))
	}
	if err != nil {
		a.failed(ctx, c, err)
		return err
	}
	var back []*pendingSend
	load, seed := map[string]struct{}{}, map[string]struct{}{}
	for i, s := range c.sends {
		switch words[i] {
		case "LOAD":
			load[s.Group] = struct{}{}
			back = append(back, s)
		case "RESEED":
			seed[s.Group] = struct{}{}
			back = append(back, s)
		default:
			s.done(outcome(words[i], s, c.gen))
		}
	}
	if len(back) > 0 {
		a.recover(ctx, c, back, load, seed)
	}
	return nil
}

// failed puts back sends whose outcome is unknown: they are asked again with the same id, until their deadline.
func (a *Appender) failed(ctx context.Context, c *call, err error) {
	for _, s := range c.sends {
		s.tried = c.gen
	}
	a.putBack(c.partition, c.sends, err)
	var reply redis.Error
	if errors.As(err, &reply) && !isNoScript(err) { // the server answered, but is not the one it was
		a.renew(ctx, c)
	}
}

// putBack returns sends to the front of their queue, in their order.
func (a *Appender) putBack(p int, sends []*pendingSend, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range sends {
		if err != nil {
			s.err = err
		}
	}
	q := &a.queues[p]
	q.sends = append(append(make([]*pendingSend, 0, len(sends)+len(q.sends)), sends...), q.sends...)
	a.queued += len(sends)
}

// renew finds the partition's generation while its sends wait.
func (a *Appender) renew(ctx context.Context, c *call) {
	a.mu.Lock()
	already := a.queues[c.partition].stale
	a.queues[c.partition].stale = true
	a.mu.Unlock()
	if already {
		return
	}
	a.goRecover(ctx, func(ctx context.Context) {
		err := a.recovery.Renew(ctx, c.partition, c.gen)
		if err != nil {
			a.log.Warn().Err(err).Int("partition", c.partition).Msg("generation not renewed, trying again")
			waitOrDone(ctx, recoveryPause)
		}
		a.mu.Lock()
		a.queues[c.partition].stale = false
		for _, s := range a.queues[c.partition].sends {
			if err != nil {
				s.err = err
			}
		}
		a.mu.Unlock()
	})
}

// recover loads and seeds groups while their sends wait; sends of other groups pass.
func (a *Appender) recover(ctx context.Context, c *call, back []*pendingSend, load, seed map[string]struct{}) {
	a.putBack(c.partition, back, nil)
	a.mu.Lock()
	q := &a.queues[c.partition]
	if q.held == nil {
		q.held = make(map[string]struct{})
	}
	for _, s := range back {
		q.held[s.Group] = struct{}{}
	}
	a.mu.Unlock()
	for group := range load {
		a.goRecover(ctx, func(ctx context.Context) {
			a.release(ctx, c.partition, a.recovery.Load(ctx, group), group)
		})
	}
	if len(seed) > 0 {
		groups := make([]string, 0, len(seed))
		for group := range seed {
			groups = append(groups, group)
		}
		a.goRecover(ctx, func(ctx context.Context) {
			a.release(ctx, c.partition, a.recovery.Seed(ctx, c.partition, c.gen, groups), groups...)
		})
	}
}

func (a *Appender) goRecover(ctx context.Context, f func(context.Context)) {
	a.jobs.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, sendDeadline)
		defer cancel()
		f(ctx)
		a.signal()
	})
}

// release lets the sends of groups go again. After an error that lasts (no such group) they are answered with it;
// after one that may pass they are tried until their deadline.
func (a *Appender) release(ctx context.Context, p int, err error, groups ...string) {
	passing := err != nil && domain.CodeOf(err).Retryable()
	if passing {
		a.log.Warn().Err(err).Int("partition", p).Int("groups", len(groups)).Msg("groups not loaded, trying again")
		waitOrDone(ctx, recoveryPause)
	}
	var answer []*pendingSend
	a.mu.Lock()
	q := &a.queues[p]
	for _, group := range groups {
		delete(q.held, group)
		if err == nil {
			continue
		}
		left := q.sends[:0]
		for _, s := range q.sends {
			switch {
			case s.Group != group:
				left = append(left, s)
			case passing:
				s.err = err
				left = append(left, s)
			default:
				answer = append(answer, s)
			}
		}
		q.sends = left
	}
	a.queued -= len(answer)
	a.mu.Unlock()
	for _, s := range answer {
		s.done(domain.Accepted{}, err)
	}
}

func waitOrDone(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// outcome is what a status word of append.lua means.
func outcome(reply string, s *pendingSend, gen int64) (domain.Accepted, error) {
	word, rest, _ := strings.Cut(reply, " ")
	refuse := func(code domain.Code, message string) (domain.Accepted, error) {
		return domain.Accepted{}, domain.Errorf(code, "%s", message)
	}
	switch word {
	case "OK", "DUP":
		// Behind an id of our own making only this send can be: a repeat of ours whose reply was lost.
		return accepted(rest, s.Group, gen, word == "DUP" && s.ClientID != "")
	case "CONFLICT":
		return domain.Accepted{}, &domain.Error{Code: domain.CodeConflict, Field: "client_id", Message: "client_id: was used for another message"}
	case "GONE":
		return refuse(domain.CodeGone, "the group was dismissed")
	case "NOT_MEMBER":
		return refuse(domain.CodeNotMember, "you are not a member of this group")
	case "BLOCKED":
		return refuse(domain.CodeForbidden, "you are blocked in this group")
	case "MUTED":
		return refuse(domain.CodeMuted, "you are muted in this group")
	case "NO_REPLY":
		return domain.Accepted{}, domain.BadField("reply_to", "must be the seq of a message")
	case "USER_RATE":
		return domain.Accepted{}, limited("you are sending too fast", rest)
	case "GROUP_RATE":
		return domain.Accepted{}, limited("the group is over its rate", rest)
	case "BACKLOG":
		return domain.Accepted{}, &domain.Error{Code: domain.CodeOverloaded, Message: "too many messages wait to be stored", RetryAfter: time.Second}
	case "FULL":
		return domain.Accepted{}, &domain.Error{Code: domain.CodeOverloaded, Message: "the message store is full", RetryAfter: time.Second}
	}
	return domain.Accepted{}, fmt.Errorf("append script answered %q", word)
}

func accepted(numbers, group string, gen int64, duplicate bool) (domain.Accepted, error) {
	a := domain.Accepted{Group: group, Gen: gen, Duplicate: duplicate}
	fields := strings.SplitN(numbers, " ", 3)
	if len(fields) != 3 {
		return domain.Accepted{}, fmt.Errorf("append script answered %q", numbers)
	}
	for i, to := range [...]*int64{&a.Seq, &a.TimeMS, &a.PersistedSeq} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return domain.Accepted{}, fmt.Errorf("append script answered %q: %w", numbers, err)
		}
		*to = n
	}
	return a, nil
}

func limited(message, ms string) error {
	wait, _ := strconv.Atoi(ms) // 0 when it cannot be read: no advice
	return &domain.Error{Code: domain.CodeRateLimited, Message: message, RetryAfter: time.Duration(wait) * time.Millisecond}
}
