package console

import (
	"context"
	"time"
)

const (
	// recallSlack is how far behind the clock recalls are looked for: those of another instance have its time.
	recallSlack   = time.Minute
	recallTimeout = time.Second // they are worth no wait of what else is shown
)

// recallView is a message taken back, as tombstones have it.
type recallView struct {
	Seq        int64  `json:"seq"`
	RecalledMS int64  `json:"recalled_ms"`
	RecalledBy string `json:"recalled_by"`
}

// recallWatch tells the recalls of messages that a watcher has seen, each once.
type recallWatch struct {
	sinceMS int64
	told    map[int64]int64 // seq → time, of those since then
}

// look finds what is new up to a seq. While a store is away, or does not answer, there is nothing; later it is told.
func (w *recallWatch) look(ctx context.Context, c *Console, group string, upTo int64) (fresh []recallView) {
	if !c.store("mysql").OK || upTo < 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	nowMS := c.Clock.NowMS()
	found, err := c.History.RecallsSince(ctx, group, w.sinceMS, upTo)
	if err != nil {
		return nil
	}
	for _, r := range found {
		if _, told := w.told[r.Seq]; !told {
			w.told[r.Seq] = r.TimeMS
			fresh = append(fresh, recallView{r.Seq, r.TimeMS, r.By})
		}
	}
	w.sinceMS = max(w.sinceMS, nowMS-recallSlack.Milliseconds())
	for seq, ms := range w.told {
		if ms <= w.sinceMS { // not found again
			delete(w.told, seq)
		}
	}
	return fresh
}

// newRecallWatch begins at a time that the watcher has seen, 0: now.
func newRecallWatch(c *Console, fromMS int64) recallWatch {
	if fromMS == 0 {
		fromMS = c.Clock.NowMS()
	}
	return recallWatch{sinceMS: fromMS - recallSlack.Milliseconds(), told: make(map[int64]int64)}
}
