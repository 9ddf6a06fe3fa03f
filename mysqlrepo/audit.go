package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"hearth/domain"
)

var _ domain.AuditStore = (*DB)(nil)

// AuditPage goes by member_count, which an audit may find wrong: it only keeps pages small.
func (d *DB) AuditPage(ctx context.Context, after string, limit, maxMembers int) ([]string, error) {
	var groups []string
	members, full := 0, false
	query := "SELECT group_id, member_count FROM chat_group WHERE group_id>? ORDER BY group_id LIMIT ?"
	err := each(ctx, d.sql, query, []any{after, limit}, func(rows *sql.Rows) error {
		var group string
		var count int
		err := rows.Scan(&group, &count)
		members += count
		if full = full || len(groups) > 0 && members > maxMembers; !full {
			groups = append(groups, group)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("groups after %q: %w", after, err)
	}
	return groups, nil
}

// Audit reads groups as they are at one moment; see domain.AuditStore.
func (d *DB) Audit(ctx context.Context, groups []string, begin func(domain.AuditedRows) (row func(*domain.Message))) error {
	err := d.view(ctx, func(tx *sql.Tx) error {
		rows, err := d.auditedRows(ctx, tx, groups)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := eachMessage(ctx, tx, r.ID, begin(*r)); err != nil {
				return fmt.Errorf("messages of %s: %w", r.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("audit %d groups: %w", len(groups), err)
	}
	return nil
}

// auditedRows is everything but the messages, by group.
func (d *DB) auditedRows(ctx context.Context, tx *sql.Tx, groups []string) (list []*domain.AuditedRows, err error) {
	if len(groups) == 0 {
		return nil, nil
	}
	var found []groupRow
	if err := d.orm(ctx, tx).Order("group_id").Find(&found, "group_id IN ?", groups).Error; err != nil {
		return nil, err
	}
	of := make(map[string]*domain.AuditedRows, len(found))
	for i := range found {
		r := &domain.AuditedRows{Group: found[i].group(), Marks: make(map[string]int64)}
		of[r.ID] = r
		list = append(list, r)
	}
	// A group that there is not is in none of these tables either, but for holes and seeds of a lost past.
	in, args := " WHERE group_id IN ("+marksOf(len(groups))+")", anys(groups)
	for _, q := range []struct {
		query string
		scan  func(rows *sql.Rows, group *string) (put func(*domain.AuditedRows), err error)
	}{
		{"SELECT group_id, user_id, role, mute_until FROM group_member" + in, scanAuditedMember},
		{"SELECT group_id, user_id, read_seq FROM group_read" + in, scanAuditedMark},
		{"SELECT group_id, from_seq, to_seq, reason FROM seq_hole" + in + " ORDER BY group_id, from_seq", scanAuditedHole},
		{"SELECT group_id, MAX(start_seq) FROM seq_seed" + in + " GROUP BY group_id", scanAuditedSeed},
	} {
		err := each(ctx, tx, q.query, args, func(rows *sql.Rows) error {
			var group string
			put, err := q.scan(rows, &group)
			if r := of[group]; r != nil && err == nil {
				put(r)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func scanAuditedMember(rows *sql.Rows, group *string) (func(*domain.AuditedRows), error) {
	var m domain.Membership
	err := rows.Scan(group, &m.User, &m.Role, &m.MuteUntilMS)
	return func(r *domain.AuditedRows) { r.Members = append(r.Members, m) }, err
}

func scanAuditedMark(rows *sql.Rows, group *string) (func(*domain.AuditedRows), error) {
	var user string
	var seq int64
	err := rows.Scan(group, &user, &seq)
	return func(r *domain.AuditedRows) { r.Marks[user] = seq }, err
}

func scanAuditedHole(rows *sql.Rows, group *string) (func(*domain.AuditedRows), error) {
	var h domain.Hole
	err := rows.Scan(group, &h.From, &h.To, &h.Reason)
	return func(r *domain.AuditedRows) { r.Holes = append(r.Holes, h) }, err
}

func scanAuditedSeed(rows *sql.Rows, group *string) (func(*domain.AuditedRows), error) {
	var seed int64
	err := rows.Scan(group, &seed)
	return func(r *domain.AuditedRows) { r.Seed = seed }, err
}

const auditedColumns = "msg_seq, msg_time, gen, type, from_account, operator_account, client_id, content_hash, msg_body," +
	" mentions, reply_to, recalled_time, recalled_by"

// eachMessage hands all messages of a group on, one at a time: what they point to is used again.
func eachMessage(ctx context.Context, q querier, group string, row func(*domain.Message)) error {
	query := "SELECT " + auditedColumns + " FROM group_msg WHERE group_id=? ORDER BY msg_seq"
	return each(ctx, q, query, []any{group}, func(rows *sql.Rows) error {
		m := domain.Message{Group: group}
		var body sql.RawBytes
		var mentions string
		err := rows.Scan(&m.Seq, &m.TimeMS, &m.Gen, &m.GroupType, &m.From, &m.Operator, &m.ClientID, &m.Hash, &body,
			&mentions, &m.ReplyTo, &m.RecalledMS, &m.RecalledBy)
		if err != nil {
			return err
		}
		if m.Body = body; mentions != "" {
			m.Mentions = strings.Split(mentions, ",")
		}
		row(&m)
		return nil
	})
}

// Spoke goes by the key on msg_time, or of one group by the one on group and time.
func (d *DB) Spoke(ctx context.Context, group string, sinceMS, readMS int64) (map[domain.GroupUser]domain.Spoke, error) {
	hint, where := d.dialect.byTime, " WHERE msg_time>?"
	args := []any{readMS, sinceMS}
	if group != "" {
		hint, where = "", where+" AND group_id=?"
		args = append(args, group)
	}
	query := "SELECT group_id, from_account, MAX(msg_time), MAX(CASE WHEN msg_time<? THEN msg_time ELSE 0 END) FROM group_msg" +
		hint + where + " AND type<>? AND from_account<>?"
	args = append(args, string(domain.Direct), domain.SystemUser)
	spoke := make(map[domain.GroupUser]domain.Spoke)
	err := each(ctx, d.sql, query+" GROUP BY group_id, from_account", args, func(rows *sql.Rows) error {
		var who domain.GroupUser
		var s domain.Spoke
		err := rows.Scan(&who.Group, &who.User, &s.LastMS, &s.BeforeMS)
		spoke[who] = s
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("who spoke since %d: %w", sinceMS, err)
	}
	// They counted before they were refused, but are not brought back when Redis has forgotten them.
	err = each(ctx, d.sql, "SELECT "+letterColumns+" FROM dead_letter"+where, args[1:len(args)-2], func(rows *sql.Rows) error {
		letter, err := scanLetter(rows)
		who := domain.GroupUser{Group: letter.Group, User: letter.From}
		s := spoke[who]
		s.LastMS = max(s.LastMS, letter.TimeMS)
		spoke[who] = s
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("who was refused since %d: %w", sinceMS, err)
	}
	return spoke, nil
}

// KnownGroups are those of the groups that there are, and whether they were dismissed.
func (d *DB) KnownGroups(ctx context.Context, groups []string) (map[string]bool, error) {
	known := make(map[string]bool, len(groups))
	for chunk := range slices.Chunk(groups, 500) {
		query := "SELECT group_id, dismissed FROM chat_group WHERE group_id IN (" + marksOf(len(chunk)) + ")"
		err := each(ctx, d.sql, query, anys(chunk), func(rows *sql.Rows) error {
			var group string
			var dismissed bool
			err := rows.Scan(&group, &dismissed)
			known[group] = dismissed
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("which of %d groups there are: %w", len(groups), err)
		}
	}
	return known, nil
}
