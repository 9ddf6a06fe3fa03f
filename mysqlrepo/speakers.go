package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"

	"hearth/domain"
)

// Speakers are the users who have a message stored after a time, each with the time of his last one, in every group that
// is ranked and was not dismissed: what the append script counts as heat.
func (d *DB) Speakers(ctx context.Context, afterMS int64) (speakers []domain.Speaker, err error) {
	query := "SELECT s.group_id, s.from_account, s.spoke FROM (" +
		"SELECT group_id, from_account, MAX(msg_time) AS spoke FROM group_msg" + d.dialect.byTime +
		" WHERE msg_time>? AND type<>? AND from_account<>? GROUP BY group_id, from_account" +
		") s LEFT JOIN chat_group g ON g.group_id=s.group_id AND g.dismissed WHERE g.group_id IS NULL"
	args := []any{afterMS, string(domain.Direct), domain.SystemUser}
	err = each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
		var s domain.Speaker
		err := rows.Scan(&s.Group, &s.User, &s.TimeMS)
		speakers = append(speakers, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("speakers after %d: %w", afterMS, err)
	}
	return speakers, nil
}

// MessageTimes goes through the messages stored after a time that count in the ranking, in no order: those of Speakers.
func (d *DB) MessageTimes(ctx context.Context, afterMS int64, found func(domain.MessageTime) error) error {
	query := "SELECT m.group_id, m.msg_seq, m.msg_time FROM group_msg m" + d.dialect.byTime +
		" LEFT JOIN chat_group g ON g.group_id=m.group_id AND g.dismissed" +
		" WHERE m.msg_time>? AND m.type<>? AND m.from_account<>? AND g.group_id IS NULL"
	args := []any{afterMS, string(domain.Direct), domain.SystemUser}
	err := each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
		var m domain.MessageTime
		if err := rows.Scan(&m.Group, &m.Seq, &m.TimeMS); err != nil {
			return err
		}
		return found(m)
	})
	if err != nil {
		return fmt.Errorf("messages after %d: %w", afterMS, err)
	}
	return nil
}
