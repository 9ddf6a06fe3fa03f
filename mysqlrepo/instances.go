package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"hearth/domain"
)

const (
	// liveMS is how old the heartbeat of a living instance may be. One that stands still for longer is not waited for.
	liveMS = 5000
	// graceTime is how long after an outage of the database those are waited for who lived when it began.
	graceTime = 2 * time.Second
	// forgetMS is when an instance that ended without a word is forgotten.
	forgetMS = 3_600_000
)

// Heartbeat tells that an instance lives, by the database's clock, and returns the generations of all partitions that
// have one.
func (d *DB) Heartbeat(ctx context.Context, instance string) (map[int]domain.Generation, error) {
	d.beats.begun(time.Now())
	err := d.tx(ctx, func(tx *sql.Tx) error {
		query := "INSERT INTO instance (instance_id, heartbeat_time) VALUES (?, " + d.dialect.nowMS + ")" + d.dialect.raiseHeartbeat
		_, err := tx.ExecContext(ctx, query, instance)
		return err
	})
	var gens map[int]domain.Generation
	if err == nil {
		gens, err = d.AllGenerations(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("heartbeat of %s: %w", instance, err)
	}
	d.beats.told(time.Now())
	return gens, nil
}

// beats knows for how long the database was not there: nobody could tell then that he lives. Only a heartbeat that was tried
// says so: an instance that starts tries none while it waits for others.
type beats struct {
	mu     sync.Mutex // guards what follows
	last   time.Time  // when one arrived
	trying time.Time  // since when they do not; zero: the last one did
	outage time.Duration
	over   time.Time // when that ended
}

// begun notes that a heartbeat is on its way.
func (b *beats) begun(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trying.IsZero() {
		b.trying = now
	}
}

// told notes that it has arrived.
func (b *beats) told(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away(now) {
		b.outage, b.over = now.Sub(b.last), now
	}
	b.last, b.trying = now, time.Time{}
}

// away tells whether the database has been asked in vain for longer than is usual; mu is held.
func (b *beats) away(now time.Time) bool {
	return !b.last.IsZero() && !b.trying.IsZero() && now.Sub(b.trying) > graceTime
}

// silence is for how long nobody could be heard, until just now.
func (b *beats) silence(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.away(now):
		return now.Sub(b.last)
	case now.Sub(b.over) < graceTime:
		return b.outage
	}
	return 0
}

// Depart forgets an instance whose journal is written, and those that have been dead for long.
func (d *DB) Depart(ctx context.Context, instance string) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		var gone []string
		query := "SELECT instance_id FROM instance WHERE instance_id=? OR heartbeat_time<" + d.dialect.nowMS + "-?"
		err := each(ctx, tx, query, []any{instance, forgetMS}, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			gone = append(gone, id)
			return err
		})
		if err != nil || len(gone) == 0 {
			return err
		}
		for _, table := range []string{"instance", "instance_flushed"} {
			query := "DELETE FROM " + table + " WHERE instance_id IN (" + marksOf(len(gone)) + ")"
			if _, err := tx.ExecContext(ctx, query, anys(gone)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("depart %s: %w", instance, err)
	}
	return nil
}

// Flushed reports that an instance has written its journal of everything older than gen, and will not believe what still
// comes of it. A higher report stays.
func (d *DB) Flushed(ctx context.Context, instance string, partition int, gen int64) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		query := "INSERT INTO instance_flushed (instance_id, partition_id, gen) VALUES (?, ?, ?)" + d.dialect.raiseFlushed
		_, err := tx.ExecContext(ctx, query, instance, partition, gen)
		return err
	})
	if err != nil {
		return fmt.Errorf("report partition %d of %s flushed: %w", partition, instance, err)
	}
	return nil
}

// Unflushed names the living instances that have not reported gen; see domain.GenerationStore. Just after an outage of the
// database those still count as living who did when it began.
func (d *DB) Unflushed(ctx context.Context, partition int, gen int64) (row domain.Generation, instances []string, err error) {
	err = d.view(ctx, func(tx *sql.Tx) error {
		var err error
		if row, err = d.readGeneration(ctx, tx, partition, ""); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		query := "SELECT i.instance_id FROM instance AS i LEFT JOIN instance_flushed AS f" +
			" ON f.instance_id=i.instance_id AND f.partition_id=?" +
			" WHERE i.heartbeat_time>=" + d.dialect.nowMS + "-? AND COALESCE(f.gen, 0)<? ORDER BY i.instance_id"
		live := liveMS + d.beats.silence(time.Now()).Milliseconds()
		return each(ctx, tx, query, []any{partition, live, gen}, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			instances = append(instances, id)
			return err
		})
	})
	if err != nil {
		return row, nil, fmt.Errorf("instances that have not flushed partition %d: %w", partition, err)
	}
	return row, instances, nil
}
