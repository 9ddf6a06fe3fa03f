package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const sweepInterval = 2 * time.Second

// JournalRows is the MySQL side of the journal.
type JournalRows interface {
	// InsertLate stores messages of generations before the settled one, whose seqs may lie in holes by now. It returns the
	// lowest seq that came back in each group.
	InsertLate(ctx context.Context, messages []domain.Message) (filled map[string]int64, err error)
	MarkRows
	// RecallMessages empties rows that were recalled, once, however often it is called, and whatever generation is settled.
	RecallMessages(ctx context.Context, recalls []domain.Recall) error
	// GroupTypes tells the types of groups.
	GroupTypes(ctx context.Context, groups []string) (map[string]domain.GroupType, error)
	// Flushed reports that the instance's journal of everything older than gen is written.
	Flushed(ctx context.Context, instance string, partition int, gen int64) error
}

// JournalMarks is the Redis side of the journal.
type JournalMarks interface {
	// Reached tells the watermarks of groups, and which marks are written; nothing of a generation that is over.
	Reached(ctx context.Context, log domain.LogRange, groups []string, marks []domain.GroupUser) (map[string]int64, []domain.GroupUser, error)
	// RecallsWritten tells which recalls are written; none of a generation that is over.
	RecallsWritten(ctx context.Context, log domain.LogRange, recalls []domain.Recall) ([]domain.Recall, error)
	// RememberSends lets repeats of sends be known for what they are.
	RememberSends(ctx context.Context, sends map[string][]domain.RecentSend) error
}

// Waiters wait for rows; domain.Watermarks is it.
type Waiters interface {
	// Stored tells that a message's row is committed.
	Stored(group string, gen, seq int64)
	// Fail tells that a message was refused.
	Fail(group string, gen, seq int64)
}

// Repairer lets Redis and clients follow when messages came back.
type Repairer interface {
	// Repaired takes those groups out of filled that it is done with.
	Repaired(ctx context.Context, filled map[string]int64) error
}

// Journal is the job that keeps an instance's journal short where watermarks were missed, and brings it to MySQL at a
// new generation (it is the domain.Flusher) and at shutdown.
type Journal struct {
	journal    *domain.Journal
	writer     *Writer
	rows       JournalRows
	marks      JournalMarks
	repairer   Repairer
	waiters    Waiters
	gens       Generations
	partitions domain.Partitions
	instance   string
	batch      int // rows in a transaction
	log        zerolog.Logger
	lateRows   prometheus.Counter

	mu   sync.Mutex // guards late
	late late
}

// NewJournal makes the job; UseGenerations completes it. instance is what MySQL knows this life of the instance by.
func NewJournal(j *domain.Journal, w *Writer, rows JournalRows, marks JournalMarks, repairer Repairer, waiters Waiters, n domain.Partitions, instance string,
	log zerolog.Logger, reg prometheus.Registerer,
) *Journal {
	lateRows := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hearth_journal_late_total", Help: "Messages of the journal brought to MySQL when their generation was over.",
	})
	reg.MustRegister(lateRows,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "hearth_journal_bytes", Help: "Memory of what was acknowledged or shown and MySQL is not known to have.",
		}, func() float64 { return float64(j.Bytes()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "hearth_journal_dropped_total", Help: "Messages, read marks and recalls that the journal had no room for: only Redis has them.",
		}, func() float64 { return float64(j.Dropped()) }),
	)
	return &Journal{
		journal: j, writer: w, rows: rows, marks: marks, repairer: repairer, waiters: waiters, partitions: n,
		instance: instance, batch: w.batch, log: log, lateRows: lateRows, late: newLate(),
	}
}

// UseGenerations tells the generations, which are made with this job as their flusher.
func (j *Journal) UseGenerations(g Generations) { j.gens = g }

// Flush closes what is older than gen, writes it and reports that; see domain.Flusher.
func (j *Journal) Flush(ctx context.Context, partition int, gen int64) error {
	unwritten, err := j.journal.Close(partition, gen)
	if err != nil { // the rest must not wait for it
		j.log.Error().Err(err).Int("partition", partition).Msg("messages of the journal not understood")
	}
	if err := j.write(ctx, partition, unwritten); err != nil {
		return err
	}
	if n := len(unwritten.Messages); n > 0 {
		j.log.Info().Int("partition", partition).Int64("gen", gen).Int("messages", n).Msg("journal written")
	}
	return j.rows.Flushed(ctx, j.instance, partition, gen)
}

// write brings messages and marks to MySQL, messages of one generation at a time, and forgets them.
func (j *Journal) write(ctx context.Context, partition int, u domain.Unwritten) error {
	if err := j.addTypes(ctx, u.Messages); err != nil {
		return err
	}
	messages := slices.Clone(u.Messages)
	slices.SortStableFunc(messages, func(a, b domain.Message) int { return cmp.Compare(a.Gen, b.Gen) })
	for len(messages) > 0 {
		n := 1
		for n < min(len(messages), j.batch) && messages[n].Gen == messages[0].Gen {
			n++
		}
		if err := j.insert(ctx, partition, messages[:n]); err != nil {
			return err
		}
		j.journal.Written(partition, domain.Unwritten{Messages: messages[:n]})
		messages = messages[n:]
	}
	if err := j.writeRecalls(ctx, partition, u.Recalls); err != nil {
		return err
	}
	return j.writeMarks(ctx, partition, u.Marks)
}

// writeMarks writes some at a time: after an outage they are many, and what is written stays so when time runs out.
func (j *Journal) writeMarks(ctx context.Context, partition int, all map[domain.GroupUser]domain.ReadMark) error {
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(all)), j.batch) {
		marks, written := make(map[domain.GroupUser]int64, len(chunk)), make(map[domain.GroupUser]domain.ReadMark, len(chunk))
		for _, who := range chunk {
			marks[who], written[who] = all[who].Seq, all[who]
		}
		if err := saveMarks(ctx, j.rows, marks, j.log); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.journal.Written(partition, domain.Unwritten{Marks: written})
	}
	return nil
}

// writeRecalls comes behind the messages. The rows of others' messages are there, too: whoever recalls keeps the message
// that MySQL may not have.
func (j *Journal) writeRecalls(ctx context.Context, partition int, all []domain.Recall) error {
	for recalls := range slices.Chunk(all, j.batch) {
		if err := j.saveRecalls(ctx, recalls); err != nil {
			return err
		}
		j.journal.Written(partition, domain.Unwritten{Recalls: recalls})
	}
	return nil
}

// saveRecalls gives up recalls that MySQL refuses, as saveMarks does: the generation would wait for them for ever.
func (j *Journal) saveRecalls(ctx context.Context, recalls []domain.Recall) error {
	err := j.rows.RecallMessages(ctx, recalls)
	reason, refused := refusal(err)
	switch half := len(recalls) / 2; {
	case err == nil:
		return nil
	case !refused:
		return fmt.Errorf("write %d recalls of the journal: %w", len(recalls), err)
	case half == 0:
		j.log.Error().Str("group", recalls[0].Group).Int64("seq", recalls[0].Seq).Str("reason", reason).Msg("recall refused by MySQL, given up")
		return nil
	default:
		return errors.Join(j.saveRecalls(ctx, recalls[:half]), j.saveRecalls(ctx, recalls[half:]))
	}
}

func (j *Journal) insert(ctx context.Context, partition int, messages []domain.Message) error {
	dead, err := j.writer.Store(ctx, domain.LogRange{Partition: partition, Gen: messages[0].Gen}, messages)
	if isFenced(err) {
		return j.insertLate(ctx, partition, messages)
	}
	if err != nil {
		return fmt.Errorf("insert %d messages of the journal: %w", len(messages), err)
	}
	for i := range messages {
		m := &messages[i]
		if len(dead) > 0 && dead[0].Group == m.Group && dead[0].Seq == m.Seq { // they are in the order of messages
			j.waiters.Fail(m.Group, m.Gen, m.Seq)
			dead = dead[1:]
		} else {
			j.waiters.Stored(m.Group, m.Gen, m.Seq)
		}
	}
	return nil
}

// addTypes tells the types of the groups, which the journal does not know.
func (j *Journal) addTypes(ctx context.Context, messages []domain.Message) error {
	var groups []string
	for i := range messages {
		if len(groups) == 0 || groups[len(groups)-1] != messages[i].Group {
			groups = append(groups, messages[i].Group)
		}
	}
	types, err := j.rows.GroupTypes(ctx, groups)
	if err != nil {
		return err
	}
	for i := range messages {
		messages[i].GroupType = types[messages[i].Group]
	}
	return nil
}

// Run asks for the watermarks of what has lain in the journal for some seconds, until ctx is done.
func (j *Journal) Run(ctx context.Context) error {
	for {
		wait(ctx, sweepInterval)
		if ctx.Err() != nil {
			return nil
		}
		var failed []error // a node of a cluster that is away does not keep the others from being asked
		for p := range int(j.partitions) {
			failed = append(failed, j.sweep(ctx, p))
		}
		if err := errors.Join(failed...); err != nil && ctx.Err() == nil {
			j.log.Warn().Err(err).Msg("journal not compared with the watermarks")
		}
		if err := j.repair(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn().Err(err).Msg("Redis and clients not told of messages that came late, trying again")
		}
	}
}

func (j *Journal) sweep(ctx context.Context, partition int) error {
	log := domain.LogRange{Partition: partition, Gen: j.gens.Of(partition)}
	groups, marks := j.journal.Lingering(partition, log.Gen)
	if err := j.sweepRecalls(ctx, partition, log); err != nil {
		return err
	}
	if len(groups)+len(marks) == 0 {
		return nil
	}
	who := make([]domain.GroupUser, 0, len(marks))
	for mark := range marks {
		who = append(who, mark)
	}
	watermarks, written, err := j.marks.Reached(ctx, log, groups, who)
	if err != nil {
		return err
	}
	for group, seq := range watermarks {
		j.journal.Committed(group, log.Gen, seq)
	}
	done := make(map[domain.GroupUser]domain.ReadMark, len(written))
	for _, mark := range written {
		done[mark] = marks[mark]
	}
	j.journal.Written(partition, domain.Unwritten{Marks: done})
	return nil
}

func (j *Journal) sweepRecalls(ctx context.Context, partition int, log domain.LogRange) error {
	recalls := j.journal.LingeringRecalls(partition, log.Gen)
	if len(recalls) == 0 {
		return nil
	}
	written, err := j.marks.RecallsWritten(ctx, log, recalls)
	if err != nil {
		return err
	}
	j.journal.Written(partition, domain.Unwritten{Recalls: written})
	return nil
}

// Last writes everything that is left, at shutdown, and tells what came late: what cannot be written is in Redis as long as
// nothing else fails. Run has ended.
func (j *Journal) Last(ctx context.Context) error {
	var failed []error
	for p := range int(j.partitions) {
		unwritten, err := j.journal.All(p)
		failed = append(failed, err, j.write(ctx, p, unwritten))
	}
	if err := j.repair(ctx); err != nil {
		j.log.Error().Err(err).Msg("Redis and clients not told of messages that came late")
	}
	return errors.Join(failed...)
}
