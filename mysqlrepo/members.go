package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"hearth/domain"
)

type memberRow struct {
	GroupID    string `gorm:"primaryKey"`
	UserID     string `gorm:"primaryKey"`
	Role       string
	MuteUntil  int64
	JoinedTime int64
}

func (memberRow) TableName() string { return "group_member" }

func (r *memberRow) membership() domain.Membership {
	return domain.Membership{User: r.UserID, Role: domain.Role(r.Role), MuteUntilMS: r.MuteUntil, JoinedMS: r.JoinedTime}
}

// createMembers inserts members of whom none is in.
func createMembers(orm *gorm.DB, group string, members []domain.Membership) error {
	rows := make([]memberRow, len(members))
	for i, m := range members {
		rows[i] = memberRow{GroupID: group, UserID: m.User, Role: string(m.Role), MuteUntil: m.MuteUntilMS, JoinedTime: m.JoinedMS}
	}
	if len(rows) == 0 {
		return nil
	}
	return orm.CreateInBatches(rows, 500).Error
}

func usersOf(members []domain.Membership) []string {
	users := make([]string, len(members))
	for i, m := range members {
		users[i] = m.User
	}
	return users
}

// AddMembers puts in who is not, with the role member and the read mark readSeq. The version is raised only if
// somebody is new.
func (d *DB) AddMembers(ctx context.Context, group string, users []string, readSeq int64) (*domain.GroupChange, error) {
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	c, err := d.change(ctx, group, func(tx *sql.Tx, c *domain.GroupChange) (bool, error) {
		joined, err := d.join(ctx, tx, c, users)
		if err != nil || len(joined) == 0 {
			return false, err
		}
		c.Joined = usersOf(joined)
		c.MemberCount += len(joined)
		if c.MemberCount > c.MemberLimit {
			return false, domain.TooLarge("members", "at most %d in this group", c.MemberLimit)
		}
		if err := createMembers(d.orm(ctx, tx), group, joined); err != nil {
			return false, err
		}
		marks := make([]readMark, len(joined))
		for i, m := range joined {
			marks[i] = readMark{group, m.User, readSeq}
		}
		return true, d.raiseMarks(ctx, tx, plan(len(marks), d.dialect.maxInsert, markSize), marks)
	})
	if err != nil {
		return nil, fmt.Errorf("add %d members to group %s: %w", len(users), group, err)
	}
	return c, nil
}

// join fills c.Put with all the users as they will be and returns those who are new.
func (d *DB) join(ctx context.Context, tx *sql.Tx, c *domain.GroupChange, users []string) (joined []domain.Membership, err error) {
	in := make(map[string]domain.Membership, len(users))
	for chunk := range slices.Chunk(users, 500) {
		var rows []memberRow
		if err := d.orm(ctx, tx).Find(&rows, "group_id = ? AND user_id IN ?", c.ID, chunk).Error; err != nil {
			return nil, err
		}
		for i := range rows {
			in[rows[i].UserID] = rows[i].membership()
		}
	}
	now := d.now().UnixMilli()
	for _, user := range users {
		m, ok := in[user]
		if m.Role == domain.BlockedIn {
			return nil, &domain.Error{Code: domain.CodeForbidden, Field: "members", Message: "members: one of the users is blocked in this group"}
		}
		if !ok {
			m = domain.Membership{User: user, Role: domain.Member, JoinedMS: now}
			joined = append(joined, m)
		}
		c.Put = append(c.Put, m)
	}
	return joined, nil
}

// RemoveMember takes a user out. It changes nothing, also not the version, when he is not in or is blocked.
func (d *DB) RemoveMember(ctx context.Context, group, user string) (*domain.GroupChange, error) {
	c, err := d.change(ctx, group, func(tx *sql.Tx, c *domain.GroupChange) (bool, error) {
		removed := d.orm(ctx, tx).Delete(&memberRow{}, "group_id = ? AND user_id = ? AND role <> ?", group, user, string(domain.BlockedIn))
		if removed.Error != nil || removed.RowsAffected == 0 {
			return false, removed.Error
		}
		c.Removed = []string{user}
		c.MemberCount--
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("remove user %s from group %s: %w", user, group, err)
	}
	return c, nil
}

// Members lists members by user id. limit 0: all.
func (d *DB) Members(ctx context.Context, group, after string, limit int) ([]domain.Membership, error) {
	q := d.gorm.WithContext(ctx).Where("group_id = ? AND user_id > ? AND role <> ?", group, after, string(domain.BlockedIn)).Order("user_id")
	if limit > 0 {
		q = q.Limit(limit)
	}
	var rows []memberRow
	if err := q.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list members of group %s: %w", group, err)
	}
	members := make([]domain.Membership, len(rows))
	for i := range rows {
		members[i] = rows[i].membership()
	}
	return members, nil
}

// Member is one user's place in a group.
func (d *DB) Member(ctx context.Context, group, user string) (domain.Membership, error) {
	var row memberRow
	err := d.gorm.WithContext(ctx).Take(&row, "group_id = ? AND user_id = ?", group, user).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return domain.Membership{}, nil
	}
	if err != nil {
		return domain.Membership{}, fmt.Errorf("read user %s of group %s: %w", user, group, err)
	}
	return row.membership(), nil
}

// allMembers is by hand because a group may have 100,000.
func allMembers(ctx context.Context, q querier, group string) ([]domain.Membership, error) {
	var members []domain.Membership
	query := "SELECT user_id, role, mute_until, joined_time FROM group_member WHERE group_id=? ORDER BY user_id"
	err := each(ctx, q, query, []any{group}, func(rows *sql.Rows) error {
		var m domain.Membership
		err := rows.Scan(&m.User, &m.Role, &m.MuteUntilMS, &m.JoinedMS)
		members = append(members, m)
		return err
	})
	return members, err
}
