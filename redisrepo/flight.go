package redisrepo

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

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
	a.metrics.batch.Observe(float64(n))
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
	keys = make([]string, 0, 9+6*len(c.sends))
	keys = append(keys, genKey(p), seqKey(p, gen), logKey(p, gen), persistedKey(p, gen), speakersKey(p), heatKey(p),
		directKey(p, gen))
	args = make([]any, 0, 12+11*len(c.sends))
	args = append(args, gen, a.store.cfg.Identity, groupChannelPrefix(p), a.store.cfg.HeatWindow.Milliseconds(),
		a.cfg.BacklogLimit, a.cfg.UserRate, a.cfg.UserBurst, a.cfg.GroupRate, a.cfg.StrangerLimit,
		a.cfg.BacklogBytes, a.cfg.measureFrom(), a.store.cfg.CountMessages)
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
			string(s.Priority), mute, s.turn())
	}
	for _, s := range c.sends {
		if bytes.Contains(s.Header, mentionsField) {
			keys = append(keys, mentionsKey(p, gen, s.Group))
		}
	}
	if a.store.cfg.CountMessages {
		keys = append(keys, messagesKey(p), trafficKey(p))
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
	var back []*pendingSend // in one go, or they would change places
	over := false
	load, seed := map[string]bool{}, map[string]struct{}{}
	for i, s := range c.sends {
		switch words[i] {
		case "LOAD":
			s.opening = s.opens()
			load[s.Group] = load[s.Group] || s.opens()
			back = append(back, s)
		case "RESEED":
			seed[s.Group] = struct{}{}
			back = append(back, s)
		default:
			if !a.answer(s, words[i], c.gen) {
				over = true
				back = append(back, s)
			}
		}
	}
	if len(back) > 0 {
		a.putBack(c.partition, back, nil)
		a.recover(ctx, c, load, seed)
	}
	if over {
		a.renew(ctx, c)
	}
	return nil
}

// answer tells the sender what a word means, and counts it. It reports false when the word is not believed.
func (a *Appender) answer(s *pendingSend, reply string, gen int64) (believed bool) {
	accepted, err := outcome(reply, s, gen)
	if !a.believed(s, gen, accepted, err) {
		return false
	}
	word, _, _ := strings.Cut(reply, " ")
	a.metrics.refused(word)
	if accepted.Duplicate {
		a.metrics.duplicates.Inc()
	}
	s.done(accepted, err)
	return true
}

// believed notes in the journal what was accepted, and tells whether the answer counts: what comes from a generation that
// is over meanwhile does not, be it a refusal.
func (a *Appender) believed(s *pendingSend, gen int64, accepted domain.Accepted, err error) bool {
	if err != nil {
		return !a.store.journal.Over(s.Group, gen)
	}
	if a.keep(s, gen, accepted) {
		return true
	}
	s.tried = gen // it is stored there, and perhaps not lost
	return false
}

// keep notes a send in the journal; it reports false when its generation is over. What is refused is never stored. And of a
// repeat whose body was judged it is not known which body was: the instance that took the first send has that. (A send that
// was tried before may be its own repeat, and that instance this one.)
func (a *Appender) keep(s *pendingSend, gen int64, accepted domain.Accepted) bool {
	journal := a.store.journal
	switch {
	case s.Refused != nil, s.Judged && accepted.Duplicate && s.tried == 0:
		return !journal.Over(s.Group, gen)
	case s.Replaced():
		return journal.KeepReplaced(accepted, s.Header, s.Body, s.Hash)
	}
	return journal.KeepSend(accepted, s.Header, s.Body)
}
