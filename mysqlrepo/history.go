package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"hearth/domain"
)

const recordColumns = "msg_seq, msg_time, from_account, operator_account, client_id, msg_body, mentions, reply_to, recalled_time, recalled_by"

// Messages answers a range with the rows there are, ascending; a limit below 1 with none.
func (d *DB) Messages(ctx context.Context, r domain.Range) ([]domain.Record, error) {
	if r.Limit < 1 || r.From > r.To {
		return nil, nil
	}
	order := ""
	if r.Last {
		order = " DESC"
	}
	query := "SELECT " + recordColumns + " FROM group_msg WHERE group_id=? AND msg_seq BETWEEN ? AND ? ORDER BY msg_seq" + order + " LIMIT ?"
	var records []domain.Record
	err := each(ctx, d.sql, query, []any{r.Group, r.From, r.To, r.Limit}, func(rows *sql.Rows) error {
		record, err := scanRecord(rows, r.Group)
		records = append(records, record)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("messages of %s from %d to %d: %w", r.Group, r.From, r.To, err)
	}
	if r.Last {
		slices.Reverse(records)
	}
	return records, nil
}

// scanRecord reads recordColumns, and behind them more.
func scanRecord(rows *sql.Rows, group string, more ...any) (domain.Record, error) {
	m := domain.Message{Group: group}
	var body sql.RawBytes // Record copies it
	var mentions string
	columns := []any{&m.Seq, &m.TimeMS, &m.From, &m.Operator, &m.ClientID, &body, &mentions, &m.ReplyTo, &m.RecalledMS, &m.RecalledBy}
	err := rows.Scan(append(columns, more...)...)
	if err != nil {
		return domain.Record{}, err
	}
	m.Body = body
	if mentions != "" {
		m.Mentions = strings.Split(mentions, ",")
	}
	return m.Record(), nil
}

// LastSeqBefore relies on times that never fall within a group: the newest row before the time has the highest seq.
func (d *DB) LastSeqBefore(ctx context.Context, group string, timeMS int64) (int64, error) {
	query := "SELECT msg_seq FROM group_msg WHERE group_id=? AND msg_time<? ORDER BY msg_time DESC, msg_seq DESC LIMIT 1"
	var seq int64
	err := each(ctx, d.sql, query, []any{group, timeMS}, func(rows *sql.Rows) error { return rows.Scan(&seq) })
	if err != nil {
		return 0, fmt.Errorf("last seq of %s before %d: %w", group, timeMS, err)
	}
	return seq, nil
}
