package mysqlrepo

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hearth/domain"
)

type settingRow struct {
	Name  string `gorm:"primaryKey"`
	Value string
}

func (settingRow) TableName() string { return "setting" }

// Setting is a stored setting; "" when there is none.
func (d *DB) Setting(ctx context.Context, name string) (string, error) {
	var row settingRow
	err := d.gorm.WithContext(ctx).Select("name", "value").Take(&row, "name = ?", name).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read setting %s: %w", name, err)
	}
	return row.Value, nil
}

// SetSettingOnce stores a setting unless it has a value, and returns the one that holds.
func (d *DB) SetSettingOnce(ctx context.Context, name, value string) (stored string, err error) {
	row := settingRow{Name: name, Value: value}
	if err := d.gorm.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error; err != nil {
		return "", fmt.Errorf("set setting %s: %w", name, err)
	}
	return d.Setting(ctx, name)
}

const partitionsSetting = "partitions"

// CheckPartitions stores the number of partitions at the first start and refuses a different one for ever after:
// every key and every generation depends on it.
func (d *DB) CheckPartitions(ctx context.Context, n domain.Partitions) error {
	if n < 1 {
		return fmt.Errorf("the number of partitions is %d, it must be at least 1", n)
	}
	stored, err := d.SetSettingOnce(ctx, partitionsSetting, strconv.Itoa(int(n)))
	if err != nil {
		return err
	}
	return samePartitions(stored, n)
}

// SamePartitions is CheckPartitions for those who only look: it stores nothing.
func (d *DB) SamePartitions(ctx context.Context, n domain.Partitions) error {
	stored, err := d.Setting(ctx, partitionsSetting)
	if err != nil || stored == "" {
		return err
	}
	return samePartitions(stored, n)
}

func samePartitions(stored string, n domain.Partitions) error {
	if stored != strconv.Itoa(int(n)) {
		return fmt.Errorf("this installation was made with %s partitions, the configuration says %d: the number is fixed for life, set it back to %s",
			stored, n, stored)
	}
	return nil
}
