package jobs

import (
	"context"
	"errors"
	"fmt"

	"hearth/domain"
)

// late is what came back, and has not been told yet.
type late struct {
	filled map[string]int64 // lowest seq in a group
	sends  map[string][]domain.RecentSend
}

func newLate() late {
	return late{filled: make(map[string]int64), sends: make(map[string][]domain.RecentSend)}
}

// insertLate brings back what others have given up: this instance was not waited for, because it stood still or was cut
// off from MySQL.
func (j *Journal) insertLate(ctx context.Context, partition int, messages []domain.Message) error {
	filled, err := j.rows.InsertLate(ctx, messages)
	if reason, refused := refusal(err); refused && len(messages) == 1 { // its seq stays a hole
		j.log.Error().Str("group", messages[0].Group).Int64("seq", messages[0].Seq).Str("reason", reason).
			Msg("late message of the journal refused by MySQL, given up")
		return nil
	} else if refused {
		half := len(messages) / 2
		return errors.Join(j.insertLate(ctx, partition, messages[:half]), j.insertLate(ctx, partition, messages[half:]))
	}
	if err != nil {
		return fmt.Errorf("insert %d messages of the journal late: %w", len(messages), err)
	}
	j.log.Warn().Int("partition", partition).Int("messages", len(messages)).Int("groups", len(filled)).Msg("journal written late")
	j.lateRows.Add(float64(len(messages)))
	j.owe(late{filled, sendsOf(messages, filled)})
	return nil
}

// sendsOf are those of messages that can be repeated, in the groups where something came back: what was there in time, the
// seed of the next generation has found.
func sendsOf(messages []domain.Message, filled map[string]int64) map[string][]domain.RecentSend {
	sends := make(map[string][]domain.RecentSend)
	for i := range messages {
		group := messages[i].Group
		if _, ok := filled[group]; !ok {
			continue
		}
		if send, ok := messages[i].RecentSend(); ok {
			sends[group] = append(sends[group], send)
		}
	}
	return sends
}

// owe notes what is to be told; it must not hold up the new generation, which may be waiting for this journal.
func (j *Journal) owe(l late) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for group, seq := range l.filled {
		if first, ok := j.late.filled[group]; !ok || seq < first {
			j.late.filled[group] = seq
		}
	}
	for group, sends := range l.sends {
		j.late.sends[group] = append(j.late.sends[group], sends...)
	}
}

// repair tells Redis and clients of what came late, until that succeeds. The holes go first: with them the store learns of
// the generation that Redis is in.
func (j *Journal) repair(ctx context.Context) error {
	j.mu.Lock()
	due := j.late
	j.late = newLate()
	j.mu.Unlock()
	if len(due.filled) > 0 {
		if err := j.repairer.Repaired(ctx, due.filled); err != nil {
			j.owe(due)
			return err
		}
	}
	if len(due.sends) > 0 {
		if err := j.marks.RememberSends(ctx, due.sends); err != nil {
			j.owe(late{sends: due.sends}) // clients are not told again: a full Redis may refuse these for long
			return err
		}
	}
	return nil
}
