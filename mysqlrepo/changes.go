package mysqlrepo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hearth/domain"
)

// keepChange has tell complete a change and keeps it until Applied, in the transaction that makes it. The group's row is
// locked, so the changes of a group get their numbers in the order of its versions.
func (d *DB) keepChange(ctx context.Context, tx *sql.Tx, c *domain.GroupChange, tell domain.Tell) error {
	if tell != nil {
		tell(c)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("change of group %s: %w", c.ID, err)
	}
	query := "INSERT INTO group_change (partition_id, group_id, payload, created_time) VALUES (?,?,?," + d.dialect.nowMS + ")"
	result, err := tx.ExecContext(ctx, query, d.partitions.Of(c.ID), c.ID, string(payload))
	if err != nil {
		return fmt.Errorf("keep change: %w", err)
	}
	if c.Kept, err = result.LastInsertId(); err != nil {
		return err
	}
	return d.queueChange(ctx, tx, c)
}

// Applied forgets a change that Redis has.
func (d *DB) Applied(ctx context.Context, c *domain.GroupChange) error {
	if _, err := d.sql.ExecContext(ctx, "DELETE FROM group_change WHERE change_id=?", c.Kept); err != nil {
		return fmt.Errorf("forget change of group %s: %w", c.ID, err)
	}
	return nil
}

// Unapplied lists up to limit changes of partitions that were made longer ago than age, by the database's clock, and not
// applied since, the oldest first, behind the change after; next is where to go on, 0 when there are no more. What cannot be
// read does not keep the others from being listed.
func (d *DB) Unapplied(
	ctx context.Context, partitions []int, age time.Duration, after int64, limit int,
) (changes []*domain.GroupChange, next int64, err error) {
	if len(partitions) == 0 {
		return nil, 0, nil
	}
	args := []any{age.Milliseconds(), after}
	for _, p := range partitions {
		args = append(args, p)
	}
	query := "SELECT change_id, group_id, payload FROM group_change WHERE created_time<=" + d.dialect.nowMS + "-? AND change_id>?" +
		" AND partition_id IN (" + marksOf(len(partitions)) + ") ORDER BY change_id LIMIT ?"
	var unread []error
	n := 0
	err = each(ctx, d.sql, query, append(args, limit), func(rows *sql.Rows) error {
		var group string
		var payload []byte
		if err := rows.Scan(&next, &group, &payload); err != nil {
			return err
		}
		n++
		c := new(domain.GroupChange)
		if err := json.Unmarshal(payload, c); err != nil {
			unread = append(unread, fmt.Errorf("change %d of group %s: %w", next, group, err))
			return nil
		}
		c.Kept = next
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("changes that are not applied: %w", err)
	}
	if n < limit {
		next = 0
	}
	return changes, next, errors.Join(unread...)
}
