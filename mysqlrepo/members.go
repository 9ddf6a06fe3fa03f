package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hearth/domain"
)

// memberRow is a place in a group. A role of notIn is none of a member: its row keeps a user out, or keeps his mute until
// he is in again.
type memberRow struct {
	GroupID    string `gorm:"primaryKey"`
	UserID     string `gorm:"primaryKey"`
	Role       string
	MuteUntil  int64
	JoinedTime int64
}

func (memberRow) TableName() string { return "group_member" }

// notIn are the roles of those who are no members.
var notIn = []string{string(domain.Outsider), string(domain.BlockedIn)}

func newMemberRow(group string, m domain.Membership) *memberRow {
	return &memberRow{GroupID: group, UserID: m.User, Role: string(m.Role), MuteUntil: m.MuteUntilMS, JoinedTime: m.JoinedMS}
}

func (r *memberRow) membership() domain.Membership {
	return domain.Membership{User: r.UserID, Role: domain.Role(r.Role), MuteUntilMS: r.MuteUntil, JoinedMS: r.JoinedTime}
}

// createMembers inserts members of whom none is in.
func createMembers(orm *gorm.DB, group string, members []domain.Membership) error {
	rows := make([]*memberRow, len(members))
	for i, m := range members {
		rows[i] = newMemberRow(group, m)
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
func (d *DB) AddMembers(ctx context.Context, group string, users []string, readSeq int64, tell domain.Tell) (*domain.GroupChange, error) {
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	c, err := d.change(ctx, group, tell, func(tx *sql.Tx, c *domain.GroupChange) (bool, error) {
		joined, err := d.join(ctx, tx, c, users)
		if err != nil || len(joined) == 0 {
			return false, err
		}
		c.Joined = usersOf(joined)
		c.MemberCount += len(joined)
		if c.MemberCount > c.MemberLimit {
			return false, domain.TooLarge("members", "at most %d in this group", c.MemberLimit)
		}
		if err := d.putMembers(ctx, tx, group, joined); err != nil {
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

// putMembers inserts members of whom some may have left muted.
func (d *DB) putMembers(ctx context.Context, tx *sql.Tx, group string, members []domain.Membership) error {
	var muted []string
	for _, m := range members {
		if m.MuteUntilMS != 0 {
			muted = append(muted, m.User)
		}
	}
	orm := d.orm(ctx, tx)
	for chunk := range slices.Chunk(muted, 500) {
		if err := orm.Delete(&memberRow{}, "group_id = ? AND user_id IN ?", group, chunk).Error; err != nil {
			return err
		}
	}
	return createMembers(orm, group, members)
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
		m := in[user]
		if m.Role == domain.BlockedIn {
			return nil, &domain.Error{Code: domain.CodeForbidden, Field: "members", Message: "members: one of the users is blocked in this group"}
		}
		if m.Role == domain.Outsider { // his mute, if there is one, goes on
			m.User, m.Role, m.JoinedMS = user, domain.Member, now
			joined = append(joined, m)
		}
		c.Put = append(c.Put, m)
	}
	return joined, nil
}

// longOver is how long a mute has to be over before it is forgotten: it ends by Redis' clock, not by this one.
const longOver = time.Hour

// ChangeMember puts a user where decide says; see domain.GroupStore. The group's row is locked, and every change of its
// members locks it. The version is raised only if something is other than it was.
func (d *DB) ChangeMember(
	ctx context.Context, group, actor, user string, decide domain.Decide, tell domain.Tell,
) (*domain.GroupChange, error) {
	c, err := d.change(ctx, group, tell, func(tx *sql.Tx, c *domain.GroupChange) (bool, error) {
		orm := d.orm(ctx, tx)
		mine, err := takeMember(orm, group, actor)
		if err != nil {
			return false, err
		}
		was, err := takeMember(orm, group, user)
		if err != nil {
			return false, err
		}
		is, err := decide(&c.Group, mine, was)
		if err != nil {
			return false, err
		}
		is.User, was.User = user, user
		if is == was {
			if is.Role != domain.Outsider || is.MuteUntilMS != 0 {
				c.Put = append(c.Put, is)
			}
			return false, nil
		}
		return true, d.moveMember(orm, c, was, is)
	})
	if err != nil {
		return nil, fmt.Errorf("change user %s of group %s: %w", user, group, err)
	}
	return c, nil
}

// moveMember writes a place that has changed, and what of the group follows from it.
func (d *DB) moveMember(orm *gorm.DB, c *domain.GroupChange, was, is domain.Membership) error {
	if is.Role == domain.Owner && was.Role != domain.Owner {
		if err := handOver(orm, c, is.User); err != nil {
			return err
		}
	}
	if !is.Role.IsMember() {
		is.JoinedMS = 0
		if is.MuteUntilMS > 0 && is.MuteUntilMS < d.now().Add(-longOver).UnixMilli() {
			is.MuteUntilMS = 0
		}
	}
	switch in, wasIn := is.Role.IsMember(), was.Role.IsMember(); {
	case in && !wasIn:
		c.MemberCount++
	case wasIn && !in:
		c.MemberCount--
	}
	if is.Role == domain.Outsider && is.MuteUntilMS == 0 {
		c.Removed = []string{is.User}
		return orm.Delete(&memberRow{}, "group_id = ? AND user_id = ?", c.ID, is.User).Error
	}
	c.Put = append(c.Put, is)
	return orm.Clauses(clause.OnConflict{UpdateAll: true}).Create(newMemberRow(c.ID, is)).Error
}

// handOver makes a user the group's owner in place of the one that it has, who becomes an admin.
func handOver(orm *gorm.DB, c *domain.GroupChange, user string) error {
	if c.Owner != "" {
		former, err := takeMember(orm, c.ID, c.Owner)
		if err != nil {
			return err
		}
		former.Role = domain.Admin
		c.Put = append(c.Put, former)
		if err := orm.Model(&memberRow{}).Where("group_id = ? AND user_id = ?", c.ID, c.Owner).
			Update("role", string(domain.Admin)).Error; err != nil {
			return err
		}
	}
	c.Owner = user
	return nil
}

// Members lists members by user id. limit 0: all.
func (d *DB) Members(ctx context.Context, group, after string, limit int) ([]domain.Membership, error) {
	q := d.gorm.WithContext(ctx).Where("group_id = ? AND user_id > ? AND role NOT IN ?", group, after, notIn).Order("user_id")
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
	m, err := takeMember(d.gorm.WithContext(ctx), group, user)
	if err != nil {
		return domain.Membership{}, fmt.Errorf("read user %s of group %s: %w", user, group, err)
	}
	return m, nil
}

// takeMember is the zero Membership for who has no row, and for "": an app server that acts for nobody.
func takeMember(orm *gorm.DB, group, user string) (domain.Membership, error) {
	if user == "" {
		return domain.Membership{}, nil
	}
	var row memberRow
	err := orm.Take(&row, "group_id = ? AND user_id = ?", group, user).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return domain.Membership{}, nil
	}
	return row.membership(), err
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
