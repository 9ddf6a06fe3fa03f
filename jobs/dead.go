package jobs

import (
	"context"
	"errors"

	"hearth/domain"
)

// maxDead bounds the dead letters of one batch: each costs a few transactions, and a batch has writeTimeout.
const maxDead = 100

// refusal finds out whether MySQL refuses the values, so that the same rows will be refused again, and why.
func refusal(err error) (reason string, refused bool) {
	var e interface{ Refused() (reason string) }
	if errors.As(err, &e) {
		return e.Refused(), true
	}
	return "", false
}

// division is how far a batch has got that had to be divided.
type division struct {
	done int               // entries from its start that are rows or dead letters
	dead []domain.LogEntry // those of them that are dead letters
}

// divide inserts entries of one log, by halves until what MySQL refuses is alone. It ends early with maxDead dead
// letters.
func (w *Writer) divide(ctx context.Context, log domain.LogRange, entries []domain.LogEntry, d *division) error {
	err := w.insert(ctx, []domain.LogBatch{{LogRange: log, Entries: entries}})
	reason, refused := refusal(err)
	switch half := len(entries) / 2; {
	case err == nil:
		d.done += len(entries)
		return nil
	case !refused:
		return err
	case half == 0:
		return w.putAside(ctx, log, entries[0], reason, d)
	default:
		err := w.divide(ctx, log, entries[:half], d)
		if err != nil || len(d.dead) >= maxDead {
			return err
		}
		return w.divide(ctx, log, entries[half:], d)
	}
}

// putAside makes a dead letter of a message, unless it is stored after all.
func (w *Writer) putAside(ctx context.Context, log domain.LogRange, e domain.LogEntry, reason string, d *division) error {
	if e.Recall != nil { // there is nothing in it that could be put aside
		w.logger.Error().Str("group", e.Recall.Group).Int64("seq", e.Recall.Seq).Int("partition", log.Partition).Str("reason", reason).
			Msg("recall refused by MySQL, given up")
		d.done++
		return nil
	}
	dead, err := w.rows.AddDeadLetter(ctx, &e.Message, reason)
	if err != nil {
		return err
	}
	d.done++
	if dead {
		d.dead = append(d.dead, e)
		w.metrics.rows.WithLabelValues("dead").Inc()
		w.logger.Error().Str("group", e.Group).Int64("seq", e.Seq).Int("partition", log.Partition).Str("reason", reason).
			Msg("message refused by MySQL, kept as a dead letter")
	}
	return nil
}

// takeHoles lets Redis know of the holes that dead letters have left in MySQL. Before they leave the log: what fails
// comes again.
func (w *Writer) takeHoles(ctx context.Context, dead []domain.LogEntry) error {
	known := make(map[string]bool)
	for _, e := range dead {
		if known[e.Group] {
			continue
		}
		known[e.Group] = true
		if err := domain.TakeHoles(ctx, w.rows, w.log, e.Group); err != nil {
			return err
		}
	}
	return nil
}
