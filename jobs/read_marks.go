package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const marksInterval = time.Second

// MarkLog is the Redis side of read marks.
type MarkLog interface {
	// DirtyMarks are marks that MySQL has not got yet, or some of them; none only when there are none.
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
	pause := marksInterval
	for ctx.Err() == nil {
		if err := r.once(ctx); err != nil {
			pause = nextBackoff(pause)
			r.logger.Warn().Err(err).Dur("retry_in", pause).Msg("read marks not persisted, they wait in Redis")
		} else {
			pause = marksInterval
		}
		wait(ctx, pause)
	}
	if err := r.once(ctx); err != nil {
		r.logger.Warn().Err(err).Msg("read marks not persisted at shutdown, they wait in Redis")
	}
	return nil
}

func (r *ReadMarks) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	var failed []error
	for _, log := range logsOf(r.leases, r.gens) {
		failed = append(failed, r.write(ctx, log))
	}
	return errors.Join(failed...)
}

// write writes a log's marks, some at a time, until only such are left that moved again meanwhile: they wait for
// the next second, or a mark that never rests would be written all the time.
func (r *ReadMarks) write(ctx context.Context, log domain.LogRange) error {
	written := make(map[domain.GroupUser]bool)
	for {
		before := len(written)
		marks, err := writeMarks(ctx, r.log, r.rows, log, r.logger)
		for who := range marks {
			written[who] = true
		}
		if err != nil || len(written) == before {
			return err
		}
	}
}

// writeMarks writes some of a log's marks and returns them.
func writeMarks(ctx context.Context, log MarkLog, rows MarkRows, of domain.LogRange, logger zerolog.Logger) (map[domain.GroupUser]int64, error) {
	marks, err := log.DirtyMarks(ctx, of)
	if err != nil || len(marks) == 0 {
		return nil, err
	}
	if err := saveMarks(ctx, rows, marks, logger); err != nil {
		return nil, err
	}
	return marks, log.MarksWritten(ctx, of, marks)
}

// saveMarks gives up marks that MySQL refuses, by halves until they are alone: a mark is worth less than the generation that
// would wait for it.
func saveMarks(ctx context.Context, rows MarkRows, marks map[domain.GroupUser]int64, logger zerolog.Logger) error {
	err := rows.SaveReadMarks(ctx, marks)
	reason, refused := refusal(err)
	switch {
	case err == nil:
		return nil
	case !refused:
		return fmt.Errorf("save %d read marks: %w", len(marks), err)
	case len(marks) == 1:
		for who := range marks {
			logger.Error().Str("group", who.Group).Str("user", who.User).Str("reason", reason).Msg("read mark refused by MySQL, given up")
		}
		return nil
	}
	var halves [2]map[domain.GroupUser]int64
	halves[0], halves[1] = make(map[domain.GroupUser]int64), make(map[domain.GroupUser]int64)
	n := 0
	for who, seq := range marks {
		halves[n%2][who] = seq
		n++
	}
	return errors.Join(saveMarks(ctx, rows, halves[0], logger), saveMarks(ctx, rows, halves[1], logger))
}
