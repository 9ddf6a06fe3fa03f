package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"hearth/domain"
)

// Renew holds the partition's row while observe looks at Redis, so that of many instances one raises and the others
// find the two agreeing. observe may be called again when the database starts the transaction over.
func (d *DB) Renew(ctx context.Context, partition int, observe func(context.Context) (domain.Observed, error)) (domain.Generation, error) {
	var row domain.Generation
	err := d.tx(ctx, func(tx *sql.Tx) (err error) {
		if row, err = d.lockGeneration(ctx, tx, partition); err != nil {
			return err
		}
		observed, err := observe(ctx)
		if err != nil {
			return err
		}
		if row.Agrees(observed) {
			return nil
		}
		row.Gen, row.Server = row.Gen+1, observed.Identity
		_, err = tx.ExecContext(ctx, "UPDATE generation SET gen=?, server=? WHERE partition_id=?", row.Gen, row.Server, partition)
		return err
	})
	if err != nil {
		return domain.Generation{}, fmt.Errorf("renew generation of partition %d: %w", partition, err)
	}
	return row, nil
}

// lockGeneration locks the partition's row, which it makes when it is missing.
func (d *DB) lockGeneration(ctx context.Context, tx *sql.Tx, partition int) (domain.Generation, error) {
	row, err := d.readGeneration(ctx, tx, partition, d.dialect.forUpdate)
	if !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}
	// Not before: it would lock the row of a partition that is there as if to write it, in every Renew.
	keep := d.dialect.keepPartition
	if _, err := tx.ExecContext(ctx, "INSERT INTO generation (partition_id, gen, server, settled) VALUES (?, 0, '', 0)"+keep, partition); err != nil {
		return row, err
	}
	return d.readGeneration(ctx, tx, partition, d.dialect.forUpdate)
}

func (d *DB) readGeneration(ctx context.Context, tx *sql.Tx, partition int, lock string) (g domain.Generation, err error) {
	row := tx.QueryRowContext(ctx, "SELECT gen, server, settled FROM generation WHERE partition_id=?"+lock, partition)
	err = row.Scan(&g.Gen, &g.Server, &g.Settled)
	return g, err
}

// AllGenerations has the partitions that were ever raised.
func (d *DB) AllGenerations(ctx context.Context) (map[int]domain.Generation, error) {
	gens := make(map[int]domain.Generation)
	err := each(ctx, d.sql, "SELECT partition_id, gen, server, settled FROM generation", nil, func(rows *sql.Rows) error {
		var p int
		var g domain.Generation
		err := rows.Scan(&p, &g.Gen, &g.Server, &g.Settled)
		gens[p] = g
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read generations: %w", err)
	}
	return gens, nil
}

// Settle fails with ErrGeneration when gen is not the row's. It waits for insertions that were let in before.
func (d *DB) Settle(ctx context.Context, partition int, gen int64) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		row, err := d.readGeneration(ctx, tx, partition, d.dialect.forUpdate)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if row.Gen != gen || gen < 1 {
			return fmt.Errorf("%w: it is in %d", ErrGeneration, row.Gen)
		}
		if row.Settled == gen {
			return nil
		}
		_, err = tx.ExecContext(ctx, "UPDATE generation SET settled=? WHERE partition_id=?", gen, partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle generation %d of partition %d: %w", gen, partition, err)
	}
	return nil
}

// shareSettled fails with ErrGeneration unless gen is settled and the newest, and keeps it so until tx ends.
func (d *DB) shareSettled(ctx context.Context, tx *sql.Tx, partition int, gen int64) error {
	row, err := d.readGeneration(ctx, tx, partition, d.dialect.forShare)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if row.Gen != gen || row.Settled != gen || gen < 1 {
		return fmt.Errorf("%w: it is in %d, settled %d", ErrGeneration, row.Gen, row.Settled)
	}
	return nil
}
