package jobs

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"hearth/domain"
)

// gapPatience is how long a message waits for one before it that is neither a row nor in a hole: another instance is about to
// write it, or an accident has taken it and nobody has found out yet.
const gapPatience = 10 * time.Second

// maxReason is what is kept of why an event was given up.
const maxReason = 200

// telling is one turn of a group.
type telling struct {
	*Hooks
	group string

	told    int   // events
	moved   bool  // among them messages in their turn
	more    bool  // there may be another batch
	gap     bool  // it ended at a gap
	givenUp bool  // the event that failed was given up
	failed  error // of the receiver
	unread  error // of MySQL
}

// batch tells some events. Messages are read first and told last: a change that was made before a message was accepted is
// among the rows then, and told before it, behind those that were stored when it was made.
func (t *telling) batch(ctx context.Context) {
	t.more = false
	read, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	untold, err := t.outbox.UntoldMessages(read, t.group, hooksBatch)
	if err != nil {
		t.unread = err
		return
	}
	rows, err := t.outbox.OutboxRows(read, t.group, hooksBatch)
	if err != nil {
		t.unread = err
		return
	}
	last := untold.Last
	if slices.ContainsFunc(rows, func(r domain.OutboxRow) bool { return r.Event == domain.HookRecalled && r.From > last }) {
		// Its message may have come between the two reads; it waits for that then.
		now, err := t.outbox.UntoldMessages(read, t.group, 0)
		if err != nil {
			t.unread = err
			return
		}
		last = now.Last
	}
	upTo := t.rows(ctx, rows, untold.Told, last)
	if t.failed == nil && t.unread == nil && ctx.Err() == nil {
		t.messages(ctx, before(untold, upTo))
	}
	t.more = t.more || len(rows) == hooksBatch || len(untold.Messages) == hooksBatch || upTo < untold.Last
	t.more = t.more && t.failed == nil && t.unread == nil && !t.gap
}

// before is what is untold up to a seq.
func before(u domain.Untold, upTo int64) domain.Untold {
	if upTo < u.Last {
		u.Last = upTo
		u.Messages = slices.DeleteFunc(u.Messages, func(m domain.UntoldMessage) bool { return m.Seq > upTo })
	}
	return u
}

// rows tells what is not in the run of messages, until something fails. Messages behind at, up to last, are still to be told:
// what comes behind one of them waits for it, and up to a change that does messages go on.
func (t *telling) rows(ctx context.Context, rows []domain.OutboxRow, at, last int64) (upTo int64) {
	upTo = math.MaxInt64
	var told []int64
	for i := range rows {
		r := &rows[i]
		if r.Event != domain.HookAfterSend && r.To > at && r.To <= last {
			if r.Event != domain.HookRecalled {
				upTo = min(upTo, r.To)
			}
			continue
		}
		done := false
		if r.Event == domain.HookAfterSend {
			done = t.run(ctx, r)
		} else if done = t.post(ctx, r.Hook()); t.isOver(r.NextMS) {
			t.giveUpRow(ctx, r)
		}
		if !done {
			break
		}
		told = append(told, r.ID)
	}
	t.save(ctx, func(ctx context.Context) error { return t.outbox.ToldRows(ctx, told) })
	return upTo
}

// run tells messages out of their turn, some at a time; done tells that these were the last.
func (t *telling) run(ctx context.Context, r *domain.OutboxRow) (done bool) {
	read, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	list, err := t.outbox.MessagesToTell(read, r.Group, r.From, r.To, hooksBatch)
	if err != nil {
		t.unread = err
		return false
	}
	next := r.From
	for i := range list {
		if !t.post(ctx, list[i].Hook()) {
			t.giveUpPart(ctx, r, list[i].Seq)
			break
		}
		next = list[i].Seq + 1
	}
	if t.failed == nil && ctx.Err() == nil && len(list) < hooksBatch {
		return true
	}
	t.save(ctx, func(ctx context.Context) error { return t.outbox.ToldPart(ctx, r.ID, next) })
	t.more = true
	return false
}

// messages tells messages in the order of their seqs. What is missing has to be in a hole, or is waited for.
func (t *telling) messages(ctx context.Context, u domain.Untold) {
	at := u.Told
	var passed domain.Holes
	for i := range u.Messages {
		m := &u.Messages[i]
		if t.gap = !t.explained(u.Holes, at, m.Seq); t.gap {
			break
		}
		if m.Seq > at+1 {
			passed = append(passed, domain.Hole{From: at + 1, To: m.Seq - 1})
			at = m.Seq - 1
		}
		if !t.post(ctx, m.Hook()) {
			break
		}
		at, t.moved = m.Seq, true
	}
	if t.failed == nil && !t.gap && ctx.Err() == nil && len(u.Messages) < hooksBatch && at < u.Last {
		if t.gap = !t.explained(u.Holes, at, u.Last+1); !t.gap {
			passed = append(passed, domain.Hole{From: at + 1, To: u.Last})
			at = u.Last
		}
	}
	if at > u.Told {
		t.save(ctx, func(ctx context.Context) error { return t.outbox.ToldMessages(ctx, t.group, at, passed) })
	}
	if t.failed != nil && t.unread == nil { // else what was passed would be given up unseen
		t.giveUpMessages(ctx, u.Messages, at)
	}
}

// explained tells whether every seq between two is in a hole, or has been waited for long enough.
func (t *telling) explained(holes domain.Holes, at, next int64) bool {
	if holes.Count(at, next-1) == next-1-at {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.groups[t.group].gap
	if t.moved || since.IsZero() || time.Since(since) < gapPatience {
		return false
	}
	t.log.Error().Str("group", t.group).Int64("from", at+1).Int64("to", next-1).
		Msg("seqs without a message or a hole; webhooks are told what is behind them, and these when they come")
	return true
}

// post tells one event, also when ctx ends meanwhile.
func (t *telling) post(ctx context.Context, hook domain.Hook) bool {
	if ctx.Err() != nil {
		return false
	}
	if t.failed = t.poster.Post(context.WithoutCancel(ctx), hook); t.failed != nil {
		return false
	}
	t.told++
	return true
}

// save notes in MySQL what was done, also when ctx has ended. What cannot be noted is done again.
func (t *telling) save(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		t.unread = errors.Join(t.unread, err)
	}
}

// isOver tells whether what has failed just now is given up: the receiver says so, or it was to be told for too long.
func (t *telling) isOver(sinceMS int64) bool {
	return t.failed != nil && (errors.Is(t.failed, ErrReceiverGone) || t.isOld(sinceMS))
}

func (t *telling) isOld(sinceMS int64) bool {
	return time.Since(time.UnixMilli(sinceMS)) > t.cfg.GiveUp
}

func (t *telling) giveUpRow(ctx context.Context, r *domain.OutboxRow) {
	t.givenUp = true
	t.log.Error().Err(t.failed).Str("group", r.Group).Str("event", r.Event).Msg("event for webhooks given up, kept as a dead letter")
	t.save(ctx, func(ctx context.Context) error { return t.outbox.GiveUpRow(ctx, r.ID, t.reason()) })
}

// giveUpPart gives up the message of a row that has failed, if the row's time is over; the others with it while the receiver
// fails for all.
func (t *telling) giveUpPart(ctx context.Context, r *domain.OutboxRow, seq int64) {
	switch {
	case !t.isOver(r.NextMS):
	case t.receiver.failing() && t.isOld(r.NextMS):
		t.giveUpRow(ctx, r)
	default:
		t.givenUp = true
		t.log.Error().Err(t.failed).Str("group", r.Group).Int64("seq", seq).Msg("message for webhooks given up, kept as a dead letter")
		t.save(ctx, func(ctx context.Context) error { return t.outbox.GiveUpPart(ctx, *r, seq, t.reason()) })
	}
}

// giveUpMessages gives up the message behind at, which has failed, if its time is over; and if it is not alone in that
// because the receiver fails for all, those behind it that are as old, too.
func (t *telling) giveUpMessages(ctx context.Context, list []domain.UntoldMessage, at int64) {
	list = list[slices.IndexFunc(list, func(m domain.UntoldMessage) bool { return m.Seq > at }):]
	if !t.isOver(list[0].StoredMS) {
		return
	}
	first, last := &list[0], &list[0]
	for i := 1; i < len(list) && t.receiver.failing() && t.isOld(list[i].StoredMS) && list[i].Seq == last.Seq+1; i++ {
		last = &list[i]
	}
	t.givenUp = true
	t.log.Error().Err(t.failed).Str("group", t.group).Int64("from", first.Seq).Int64("to", last.Seq).
		Msg("messages for webhooks given up, kept as a dead letter")
	t.save(ctx, func(ctx context.Context) error {
		return t.outbox.GiveUpMessages(ctx, t.group, first.Seq, last.Seq, first.TimeMS, t.reason())
	})
}

// reason is valid UTF-8, which MySQL insists on, also where an error was cut within a character.
func (t *telling) reason() string {
	reason := t.failed.Error()
	return strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
}
