package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	maxBackoff   = 5 * time.Second
	writeTimeout = 10 * time.Second
	tellTimeout  = 5 * time.Second        // to tell Redis of what a batch has got done
	maxIdle      = 100 * time.Millisecond // between looks at logs that are empty
	observeEvery = time.Second
	countEvery   = 10 * time.Second // of what changes seldom, and has to be asked of MySQL
	countTimeout = time.Second
	minLogRead   = 100
)

// Log is the Redis side of the write-behind log.
type Log interface {
	// ReadLogs reads up to limit entries from the start of each log.
	ReadLogs(ctx context.Context, logs []domain.LogRange, limit int) ([][]domain.LogEntry, error)
	// Committed takes entries off their logs and raises the watermarks.
	Committed(ctx context.Context, batches []domain.LogBatch) error
	Backlog(ctx context.Context, logs []domain.LogRange) (int64, error)
	// OldestLogged is when the oldest entry of any of the logs came; 0 when they are empty.
	OldestLogged(ctx context.Context, logs []domain.LogRange) (ms int64, err error)
	OlderGenerations(ctx context.Context, partition int, gen int64) ([]int64, error)
	ForgetGeneration(ctx context.Context, partition int, gen int64) error
	// SetAside takes the log of an older generation out of the way without losing it.
	SetAside(ctx context.Context, partition int, gen int64) error
	domain.HoleCache
	MarkLog
}

// Rows is the MySQL side.
type Rows interface {
	// InsertMessages stores messages once and does recalls once, however often it is called with them, in one transaction.
	// gens names the generation that each partition's messages and recalls belong to; one that is no longer accepted is refused.
	// An error with a method Refused() (reason string) is about the values, which will be refused again.
	InsertMessages(ctx context.Context, gens map[int]int64, messages []domain.Message, recalls ...domain.Recall) error
	// AddDeadLetter keeps a message that was refused, and makes a hole of its seq, once, however often it is called. dead
	// is false when the message is stored after all.
	AddDeadLetter(ctx context.Context, m *domain.Message, reason string) (dead bool, err error)
	CountDeadLetters(ctx context.Context) (int64, error)
	domain.HoleStore
	MarkRows
}

// Writer brings messages and recalls from the log to MySQL: rows first, then the watermark, then off the log. A crash
// anywhere repeats a batch and changes nothing.
type Writer struct {
	log     Log
	rows    Rows
	batch   int // rows in a transaction
	metrics *persistMetrics
	logger  zerolog.Logger
}

// NewWriter makes a writer of batches of about batchRows rows.
func NewWriter(log Log, rows Rows, batchRows int, logger zerolog.Logger, reg prometheus.Registerer) *Writer {
	return &Writer{log: log, rows: rows, batch: batchRows, metrics: newPersistMetrics(reg), logger: logger}
}

// Write writes one batch from the start of the logs. It returns the number of rows, and more when a log had more
// than it took.
func (w *Writer) Write(ctx context.Context, logs []domain.LogRange) (n int, more bool, err error) {
	if len(logs) == 0 {
		return 0, false, nil
	}
	limit := max(minLogRead, w.batch/len(logs))
	entries, err := w.log.ReadLogs(ctx, logs, limit)
	if err != nil {
		return 0, false, err
	}
	var batches []domain.LogBatch
	for i, log := range logs {
		if len(entries[i]) > 0 {
			batches = append(batches, domain.LogBatch{LogRange: log, Entries: entries[i]})
		}
		more = more || len(entries[i]) == limit
	}
	if len(batches) == 0 {
		return 0, false, nil
	}
	if err := w.insert(ctx, batches); err != nil {
		if _, refused := refusal(err); len(batches) == 1 && !refused {
			return 0, false, err
		}
		n, err = w.storeEach(ctx, batches)
		return n, false, err
	}
	n, err = w.committed(ctx, batches)
	return n, more && err == nil, err
}

// insert stores batches, all in one transaction. The messages that are recalled are among them or were stored before.
func (w *Writer) insert(ctx context.Context, batches []domain.LogBatch) error {
	var messages []domain.Message
	var recalls []domain.Recall
	gens := make(map[int]int64, len(batches))
	for _, b := range batches {
		gens[b.Partition] = b.Gen
		sent, recalled := domain.Unlogged(b.Entries)
		messages, recalls = append(messages, sent...), append(recalls, recalled...)
	}
	start := time.Now()
	if err := w.rows.InsertMessages(ctx, gens, messages, recalls...); err != nil {
		if _, refused := refusal(err); !refused { // else it is one of them, and the others are tried again at once
			w.metrics.rows.WithLabelValues("failed").Add(float64(len(messages)))
		}
		return fmt.Errorf("insert %d messages, recall %d: %w", len(messages), len(recalls), err)
	}
	w.metrics.inserted(messages, start)
	return nil
}

// committed takes inserted batches off their logs and counts their messages.
func (w *Writer) committed(ctx context.Context, batches []domain.LogBatch) (n int, err error) {
	if err := w.log.Committed(ctx, batches); err != nil {
		return 0, err
	}
	for _, b := range batches {
		n += len(b.Entries)
	}
	return n, nil
}

// storeEach stores the batches one by one: the trouble of one partition must not hold up the others. Any may be first, for it
// may take all the time that there is.
func (w *Writer) storeEach(ctx context.Context, batches []domain.LogBatch) (n int, err error) {
	for _, i := range rand.Perm(len(batches)) {
		stored, storeErr := w.store(ctx, batches[i])
		n += stored
		if storeErr != nil {
			err = storeErr
		}
	}
	return n, err
}

// store stores a batch alone and takes it off its log. What MySQL refuses of it becomes a dead letter: it holds up
// nobody.
func (w *Writer) store(ctx context.Context, b domain.LogBatch) (n int, err error) {
	var d division
	err = w.divide(ctx, b.LogRange, b.Entries, &d)
	if d.done == 0 {
		return 0, err
	}
	// What was done counts, also when the time ended before all was: the next try would get no further.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	if holesErr := w.takeHoles(ctx, d.dead); holesErr != nil {
		return 0, errors.Join(err, holesErr)
	}
	b.Entries, b.Dead = b.Entries[:d.done], d.dead // the start of the log, also when the rest failed
	n, commitErr := w.committed(ctx, []domain.LogBatch{b})
	return n, errors.Join(err, commitErr)
}

// Store stores messages of one generation that do not come from a log. What MySQL refuses becomes a dead letter, and is
// returned.
func (w *Writer) Store(ctx context.Context, log domain.LogRange, messages []domain.Message) (dead []domain.LogEntry, err error) {
	entries := make([]domain.LogEntry, len(messages))
	for i := range messages {
		entries[i].Message = messages[i]
	}
	for len(entries) > 0 {
		var d division
		if err := w.divide(ctx, log, entries, &d); err != nil {
			return nil, err
		}
		dead, entries = append(dead, d.dead...), entries[d.done:]
	}
	return dead, nil
}

// Drain writes what older generations of a partition left in this Redis, messages and read marks, and deletes
// them; see domain.Drainer.
func (w *Writer) Drain(ctx context.Context, partition int, gen int64) error {
	older, err := w.log.OlderGenerations(ctx, partition, gen)
	if err != nil {
		return err
	}
	for _, old := range older {
		log := domain.LogRange{Partition: partition, Gen: old}
		err := w.drainMessages(ctx, log)
		if isFenced(err) { // an old master is back: what it has was written from elsewhere, or comes too late
			w.logger.Error().Err(err).Int("partition", partition).Int64("gen", old).Msg("log of an older generation set aside")
			err = w.log.SetAside(ctx, partition, old)
		}
		if err == nil {
			err = w.drainMarks(ctx, log)
		}
		if err != nil {
			return fmt.Errorf("drain generation %d: %w", old, err)
		}
		if err := w.log.ForgetGeneration(ctx, partition, old); err != nil {
			return err
		}
	}
	return nil
}

// isFenced tells that messages were refused because a newer generation than theirs is settled.
func isFenced(err error) bool {
	var fenced interface{ Fenced() int }
	return errors.As(err, &fenced)
}

func (w *Writer) drainMessages(ctx context.Context, log domain.LogRange) error {
	for {
		n, _, err := w.Write(ctx, []domain.LogRange{log})
		if err != nil || n == 0 {
			return err
		}
	}
}

func (w *Writer) drainMarks(ctx context.Context, log domain.LogRange) error {
	for {
		marks, err := writeMarks(ctx, w.log, w.rows, log, w.logger)
		if err != nil || len(marks) == 0 {
			return err
		}
	}
}

// Generations tells which generation a partition is in; 0 while that is not known.
type Generations interface {
	Of(partition int) int64
	Renew(ctx context.Context, partition int, seen int64) error
}

// Persist is the job that keeps the logs of this instance's partitions short.
type Persist struct {
	writer   *Writer
	leases   *Leases
	gens     Generations
	interval time.Duration
	logger   zerolog.Logger
}

// NewPersist makes the job; interval is the pause in which a batch gathers.
func NewPersist(w *Writer, leases *Leases, gens Generations, interval time.Duration, log zerolog.Logger) *Persist {
	return &Persist{writer: w, leases: leases, gens: gens, interval: interval, logger: log}
}

// Run writes until ctx is done, then once more what is there.
func (p *Persist) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { p.observe(ctx) })
	backoff, idle := time.Duration(0), p.interval
	for ctx.Err() == nil {
		n, more, err := p.once(ctx)
		switch {
		case err != nil:
			if n > 0 { // not everything is away: the rest must not wait for long
				backoff = 0
			}
			backoff = nextBackoff(backoff)
			p.logger.Warn().Err(err).Dur("retry_in", backoff).Msg("messages not persisted, they wait in Redis")
			wait(ctx, backoff)
		case more:
			backoff, idle = 0, p.interval
		case n > 0:
			backoff, idle = 0, p.interval
			wait(ctx, idle)
		default: // looking at empty logs costs, too
			backoff, idle = 0, min(2*idle, max(p.interval, maxIdle))
			wait(ctx, idle)
		}
	}
	return p.last(context.WithoutCancel(ctx))
}

func (p *Persist) once(ctx context.Context) (n int, more bool, err error) {
	// A batch that has begun is finished: half a batch is work done twice.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	return p.writer.Write(ctx, logsOf(p.leases, p.gens))
}

// observe measures until ctx is done, beside the batches: when it matters, one hangs.
func (p *Persist) observe(ctx context.Context) {
	var counted time.Time
	for ctx.Err() == nil {
		p.observeBacklog(ctx)
		if time.Since(counted) >= countEvery {
			counted = time.Now()
			p.countDeadLetters(ctx)
		}
		wait(ctx, observeEvery)
	}
}

func (p *Persist) observeBacklog(ctx context.Context) {
	logs := logsOf(p.leases, p.gens)
	n, err := p.writer.log.Backlog(ctx, logs)
	var oldest int64
	if err == nil && n > 0 {
		oldest, err = p.writer.log.OldestLogged(ctx, logs)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.logger.Warn().Err(err).Msg("backlog not measured")
		}
		return
	}
	p.writer.metrics.backlog.Set(float64(n))
	if oldest > 0 {
		p.writer.metrics.waiting(oldest)
	} else {
		p.writer.metrics.lag.Set(0)
	}
}

func (p *Persist) countDeadLetters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := p.writer.rows.CountDeadLetters(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.logger.Warn().Err(err).Msg("dead letters not counted")
		}
		return
	}
	p.writer.metrics.dead.Set(float64(n))
}

// last empties the logs at shutdown, as far as that goes within writeTimeout: others may fill them as fast. What
// stays is written by another instance, or at the next start.
func (p *Persist) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for more := true; more; {
		var err error
		if _, more, err = p.writer.Write(ctx, logsOf(p.leases, p.gens)); err != nil {
			p.logger.Warn().Err(err).Msg("messages not persisted at shutdown, they wait in Redis")
			return nil
		}
	}
	return nil
}

// logsOf names the current logs of the partitions that this instance has leased.
func logsOf(leases *Leases, gens Generations) []domain.LogRange {
	var logs []domain.LogRange
	for _, partition := range leases.Held() {
		if gen := gens.Of(partition); gen > 0 {
			logs = append(logs, domain.LogRange{Partition: partition, Gen: gen})
		}
	}
	return logs
}

// nextBackoff doubles from 50 ms to maxBackoff, less up to a quarter so that instances do not retry in step.
func nextBackoff(d time.Duration) time.Duration {
	d = min(max(2*d, 50*time.Millisecond), maxBackoff)
	return d - rand.N(d/4)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
