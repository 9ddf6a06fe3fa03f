package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const marksInterval = time.Second

// MarkLog is the Redis side of read marks.
type MarkLog interface {
	// DirtyMarks are marks that MySQL has not got yet, or some of them.
	DirtyMarks(ctx context.Context, log domain.LogRange) (map[domain.GroupUser]int64, error)
	// MarksWritten forgets marks that MySQL has now, unless they have moved on.
	MarksWritten(ctx context.Context, log domain.LogRange, marks map[domain.GroupUser]int64) error
}

// MarkRows is the MySQL side.
type MarkRows interface {
	// SaveReadMarks raises marks; lower ones change nothing.
	SaveReadMarks(ctx context.Context, marks map[domain.GroupUser]int64) error
}

// ReadMarks is the job that writes read marks behind: each second, what moved.
type ReadMarks struct {
	log    MarkLog
	rows   MarkRows
	leases *Leases
	gens   Generations
	logger zerolog.Logger
}

// NewReadMarks makes the job.
func NewReadMarks(log MarkLog, rows MarkRows, leases *Leases, gens Generations, logger zerolog.Logger) *ReadMarks {
	return &ReadMarks{log: log, rows: rows, leases: leases, gens: gens, logger: logger}
}

// Run writes until ctx is done, then once more.
func (r *ReadMarks) Run(ctx context.Context) error {
	backoff := time.Duration(0)
	for {
		err := r.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		backoff = marksInterval
		if err != nil {
			backoff = max(marksInterval, nextBackoff(backoff))
			r.logger.Warn().Err(err).Dur("retry_in", backoff).Msg("read marks not persisted, they wait in Redis")
		}
		wait(ctx, backoff)
	}
}

func (r *ReadMarks) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for _, log := range logsOf(r.leases, r.gens) {
		if _, err := writeMarks(ctx, r.log, r.rows, log); err != nil {
			return err
		}
	}
	return nil
}

// writeMarks writes some of a log's marks and returns how many.
func writeMarks(ctx context.Context, log MarkLog, rows MarkRows, of domain.LogRange) (int, error) {
	marks, err := log.DirtyMarks(ctx, of)
	if err != nil || len(marks) == 0 {
		return 0, err
	}
	if err := rows.SaveReadMarks(ctx, marks); err != nil {
		return 0, fmt.Errorf("save %d read marks: %w", len(marks), err)
	}
	return len(marks), log.MarksWritten(ctx, of, marks)
}
