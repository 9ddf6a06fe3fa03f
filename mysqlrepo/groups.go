package mysqlrepo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hearth/domain"
)

type groupRow struct {
	GroupID     string `gorm:"primaryKey"`
	Type        string
	Name        string
	Avatar      string
	JoinMode    string
	Owner       string
	Attributes  string
	Muted       bool
	Dismissed   bool
	MemberLimit int
	MemberCount int
	Version     int64
	CreatedTime int64
	CreatedGen  int64
}

func (groupRow) TableName() string { return "chat_group" }

func newGroupRow(g *domain.Group) *groupRow {
	return &groupRow{
		GroupID: g.ID, Type: string(g.Type), Name: g.Name, Avatar: g.Avatar, JoinMode: g.Join, Owner: g.Owner,
		Attributes: string(g.Attributes), Muted: g.Muted, Dismissed: g.Dismissed,
		MemberLimit: g.MemberLimit, MemberCount: g.MemberCount, Version: g.Version,
		CreatedTime: g.CreatedMS, CreatedGen: g.CreatedGen,
	}
}

func (r *groupRow) group() domain.Group {
	g := domain.Group{
		ID: r.GroupID, Type: domain.GroupType(r.Type), Name: r.Name, Avatar: r.Avatar, Join: r.JoinMode, Owner: r.Owner,
		Muted: r.Muted, Dismissed: r.Dismissed, MemberLimit: r.MemberLimit, MemberCount: r.MemberCount,
		Version: r.Version, CreatedMS: r.CreatedTime, CreatedGen: r.CreatedGen,
	}
	if r.Attributes != "" {
		g.Attributes = json.RawMessage(r.Attributes)
	}
	return g
}

// Create stores a new group at version 1, with its owner and members. CreatedGen and, unless they are given,
// CreatedMS and MemberLimit are set here.
func (d *DB) Create(ctx context.Context, g domain.Group, members []string, tell domain.Tell) (*domain.GroupChange, error) {
	g.Version, g.Dismissed = 1, false
	if g.CreatedMS == 0 {
		g.CreatedMS = d.now().UnixMilli()
	}
	if g.MemberLimit == 0 {
		g.MemberLimit = domain.DefaultMemberLimit
	}
	put := firstMembers(&g, members)
	g.MemberCount = len(put)
	if g.MemberCount > g.MemberLimit {
		return nil, domain.TooLarge("members", "at most %d in this group", g.MemberLimit)
	}
	c := &domain.GroupChange{Put: put, Joined: usersOf(put), Created: true}
	err := d.tx(ctx, func(tx *sql.Tx) error {
		// Locked, because a group that says it was made in a generation starts there at 0.
		generation, err := d.readGeneration(ctx, tx, d.partitions.Of(g.ID), d.dialect.forShare)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		g.CreatedGen = generation.Gen
		orm := d.orm(ctx, tx)
		if err := createGroup(orm, &g); err != nil {
			return err
		}
		if err := createMembers(orm, g.ID, put); err != nil {
			return err
		}
		c.Group = g
		return d.keepChange(ctx, tx, c, tell)
	})
	if err != nil {
		return nil, fmt.Errorf("create group %s: %w", g.ID, err)
	}
	return c, nil
}

func firstMembers(g *domain.Group, members []string) []domain.Membership {
	if g.Owner != "" {
		members = append([]string{g.Owner}, members...)
	}
	put := []domain.Membership{}
	for _, user := range slices.Compact(slices.Sorted(slices.Values(members))) {
		m := domain.Membership{User: user, Role: domain.Member, JoinedMS: g.CreatedMS}
		if user == g.Owner {
			m.Role = domain.Owner
		}
		put = append(put, m)
	}
	return put
}

func createGroup(orm *gorm.DB, g *domain.Group) error {
	created := orm.Clauses(clause.OnConflict{DoNothing: true}).Create(newGroupRow(g))
	if created.Error != nil || created.RowsAffected == 1 {
		return created.Error
	}
	there, err := takeGroup(orm, g.ID)
	if err != nil {
		return err
	}
	if there.Dismissed {
		return domain.Errorf(domain.CodeGone, "a group with this id was dismissed")
	}
	return domain.Errorf(domain.CodeConflict, "a group with this id exists")
}

func takeGroup(orm *gorm.DB, group string) (*groupRow, error) {
	row := new(groupRow)
	err := orm.Take(row, "group_id = ?", group).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	return row, err
}

// Group reads one group.
func (d *DB) Group(ctx context.Context, group string) (*domain.Group, error) {
	row, err := takeGroup(d.gorm.WithContext(ctx), group)
	if err != nil {
		return nil, fmt.Errorf("read group %s: %w", group, err)
	}
	g := row.group()
	return &g, nil
}

// Groups lists groups by id. limit 0: all.
func (d *DB) Groups(ctx context.Context, user, after string, limit int) ([]domain.Group, error) {
	q := d.gorm.WithContext(ctx).Where("chat_group.group_id > ? AND NOT dismissed", after).Order("chat_group.group_id")
	if user != "" {
		q = q.Joins("JOIN group_member m ON m.group_id = chat_group.group_id").
			Where("m.user_id = ? AND m.role NOT IN ?", user, notIn)
	}
	if limit > 0 {
		q = q.Limit(limit)
	}
	var rows []groupRow
	if err := q.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	groups := make([]domain.Group, len(rows))
	for i := range rows {
		groups[i] = rows[i].group()
	}
	return groups, nil
}

// GroupsOf lists the ids of the groups that a user is in and that were not dismissed.
func (d *DB) GroupsOf(ctx context.Context, user, after string, limit int) ([]string, error) {
	q := d.gorm.WithContext(ctx).Table("group_member m").Joins("JOIN chat_group g ON g.group_id = m.group_id").
		Where("m.user_id = ? AND m.group_id > ? AND m.role NOT IN ? AND NOT g.dismissed", user, after, notIn).
		Order("m.group_id")
	if limit > 0 {
		q = q.Limit(limit)
	}
	var groups []string
	if err := q.Pluck("m.group_id", &groups).Error; err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", user, err)
	}
	return groups, nil
}

// Snapshot reads a group and all who have a place in it, the blocked and the muted too, at one version.
func (d *DB) Snapshot(ctx context.Context, group string) (*domain.GroupSnapshot, error) {
	var s domain.GroupSnapshot
	err := d.view(ctx, func(tx *sql.Tx) error {
		row, err := takeGroup(d.orm(ctx, tx), group)
		if err != nil {
			return err
		}
		s.Group = row.group()
		s.Members, err = allMembers(ctx, tx, group)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("snapshot of group %s: %w", group, err)
	}
	return &s, nil
}

// change locks a group that is not dismissed, lets do work on it, and, if do reports that it changed something,
// raises the version, stores the group and keeps the change.
func (d *DB) change(
	ctx context.Context, group string, tell domain.Tell, do func(tx *sql.Tx, c *domain.GroupChange) (changed bool, err error),
) (*domain.GroupChange, error) {
	var c *domain.GroupChange
	err := d.tx(ctx, func(tx *sql.Tx) error {
		orm := d.orm(ctx, tx)
		row, err := takeGroup(orm.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}), group)
		if err != nil {
			return err
		}
		if row.Dismissed {
			return domain.Errorf(domain.CodeGone, "the group was dismissed")
		}
		c = &domain.GroupChange{Group: row.group()}
		changed, err := do(tx, c)
		if err != nil {
			return err
		}
		if !changed {
			if tell != nil {
				tell(c)
			}
			return nil
		}
		c.Version++
		c.Raised = true
		if err := orm.Model(row).Select(changeable[0], changeable[1:]...).Updates(newGroupRow(&c.Group)).Error; err != nil {
			return err
		}
		return d.keepChange(ctx, tx, c, tell)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// changeable are the columns of a group that are not fixed at its creation.
var changeable = []any{"name", "avatar", "join_mode", "owner", "attributes", "muted", "dismissed", "member_limit", "member_count", "version"}

// Update lets set change what may be changed of a group.
func (d *DB) Update(ctx context.Context, group string, set func(*domain.Group), tell domain.Tell) (*domain.GroupChange, error) {
	c, err := d.change(ctx, group, tell, func(_ *sql.Tx, c *domain.GroupChange) (bool, error) {
		before := *newGroupRow(&c.Group)
		set(&c.Group)
		return *newGroupRow(&c.Group) != before, nil
	})
	if err != nil {
		return nil, fmt.Errorf("update group %s: %w", group, err)
	}
	return c, nil
}

// Dismiss ends a group: its id stays taken.
func (d *DB) Dismiss(ctx context.Context, group string, tell domain.Tell) (*domain.GroupChange, error) {
	c, err := d.change(ctx, group, tell, func(_ *sql.Tx, c *domain.GroupChange) (bool, error) {
		c.Dismissed = true
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("dismiss group %s: %w", group, err)
	}
	return c, nil
}

// GroupTypes tells the types of groups; those that are not there are left out.
func (d *DB) GroupTypes(ctx context.Context, groups []string) (map[string]domain.GroupType, error) {
	return d.groupTypes(ctx, groups, "")
}

// LiveTypes is GroupTypes without those that were dismissed.
func (d *DB) LiveTypes(ctx context.Context, groups []string) (map[string]domain.GroupType, error) {
	return d.groupTypes(ctx, groups, " AND NOT dismissed")
}

func (d *DB) groupTypes(ctx context.Context, groups []string, and string) (map[string]domain.GroupType, error) {
	types := make(map[string]domain.GroupType, len(groups))
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		query := "SELECT group_id, type FROM chat_group WHERE group_id IN (" + marksOf(len(chunk)) + ")" + and
		err := each(ctx, d.sql, query, anys(chunk), func(rows *sql.Rows) error {
			var group string
			var typ domain.GroupType
			err := rows.Scan(&group, &typ)
			types[group] = typ
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("types of %d groups: %w", len(groups), err)
		}
	}
	return types, nil
}
