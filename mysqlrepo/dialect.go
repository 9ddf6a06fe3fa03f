package mysqlrepo

import (
	"database/sql"
	"embed"
	"errors"
	"slices"

	gosqlite "github.com/glebarez/go-sqlite"
	"github.com/glebarez/sqlite"
	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
)

//go:embed migrations
var migrations embed.FS

// dialect is all in which MySQL and SQLite differ.
type dialect struct {
	name       string
	goose      goose.Dialect
	migrations string // folder in migrations
	gorm       func(*sql.DB) gorm.Dialector

	forShare  string         // behind a SELECT: nobody may change these rows until the transaction ends
	forUpdate string         // … nor read them with a lock
	snapshot  *sql.TxOptions // all reads of a transaction see one moment
	write     *sql.TxOptions

	keepGroup     string // behind an INSERT with a key group_id, …: a row that is there stays as it is
	keepPartition string // the same, with a key partition_id
	raiseRead     string // behind an INSERT into group_read: the higher mark wins
	raiseLast     string // behind an INSERT into hook_position: the higher last_seq wins, and is pending if it was not told

	nowMS          string // the database's clock, in Unix ms
	raiseHeartbeat string // behind an INSERT into instance: the higher time wins
	raiseFlushed   string // behind an INSERT into instance_flushed: the higher generation wins
	byKey          string // behind group_msg: by its primary key, whatever statistics say; a walk would wait for rows of others that are locked
	byGroupTime    string // behind FROM group_msg: by the index of group and time, which has no bodies to be read
	byTime         string // behind FROM group_msg: by the index of its time, whatever statistics say; never a walk over the whole table

	maxInsert int // bytes of values in one INSERT

	number       func(error) int // the database's own of an error; 0 for errors of others
	retryable    []int           // the transaction was chosen as a victim; again, it may succeed
	missingTable []int
	refused      []int // the values are at fault, and will be at the next try
}

func (d *dialect) is(err error, numbers []int) bool { return slices.Contains(numbers, d.number(err)) }

var mysqlDialect = dialect{
	name: "mysql", goose: goose.DialectMySQL, migrations: "migrations/mysql",
	gorm: func(pool *sql.DB) gorm.Dialector {
		return gormmysql.New(gormmysql.Config{
			Conn:                      pool,
			SkipInitializeWithVersion: true,
			DisableWithReturning:      true, // on MariaDB it hides how many rows were new
		})
	},
	forShare:  " LOCK IN SHARE MODE", // MySQL also knows FOR SHARE, MariaDB does not
	forUpdate: " FOR UPDATE",
	snapshot:  &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},

	keepGroup:     " ON DUPLICATE KEY UPDATE group_id=group_id",
	keepPartition: " ON DUPLICATE KEY UPDATE partition_id=partition_id",
	raiseRead:     " ON DUPLICATE KEY UPDATE read_seq=GREATEST(read_seq,VALUES(read_seq))",
	raiseLast: " ON DUPLICATE KEY UPDATE pending=(pending OR VALUES(last_seq)>told_seq)," +
		" last_seq=GREATEST(last_seq,VALUES(last_seq))",

	nowMS:          "(TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(3)) DIV 1000)",
	raiseHeartbeat: " ON DUPLICATE KEY UPDATE heartbeat_time=GREATEST(heartbeat_time,VALUES(heartbeat_time))",
	raiseFlushed:   " ON DUPLICATE KEY UPDATE gen=GREATEST(gen,VALUES(gen))",
	byKey:          " FORCE INDEX (PRIMARY)",
	byGroupTime:    " FORCE INDEX (group_time)",
	byTime:         " FORCE INDEX (msg_time)",

	maxInsert: 4 << 20, // MySQL's smallest max_allowed_packet in use is 16 MiB

	number:       mysqlNumber,
	retryable:    []int{1213, 1205},
	missingTable: []int{1146},
	// Null, packet too large, out of range, truncated (twice), broken characters (twice), too long, unconvertible; what an
	// operator has added: a foreign key, the SIGNAL of a trigger, checks of MySQL and of MariaDB.
	refused: []int{1048, mysqlPacketTooLarge, 1264, 1265, 1292, 1300, 1366, 1406, 3988, 1452, 1644, 3819, 4025},
}

const mysqlPacketTooLarge = 1153

func mysqlNumber(err error) int {
	var e *mysql.MySQLError
	switch {
	case errors.As(err, &e):
		return int(e.Number)
	case errors.Is(err, mysql.ErrPktTooLarge): // the driver saw it before the server
		return mysqlPacketTooLarge
	}
	return 0
}

var sqliteDialect = dialect{
	name: "sqlite", goose: goose.DialectSQLite3, migrations: "migrations/sqlite",
	gorm: func(pool *sql.DB) gorm.Dialector { return &sqlite.Dialector{Conn: pool} },

	keepGroup:     " ON CONFLICT DO NOTHING",
	keepPartition: " ON CONFLICT DO NOTHING",
	raiseRead:     " ON CONFLICT (group_id, user_id) DO UPDATE SET read_seq=MAX(read_seq,excluded.read_seq)",
	raiseLast: " ON CONFLICT (group_id) DO UPDATE SET pending=(pending OR excluded.last_seq>told_seq)," +
		" last_seq=MAX(last_seq,excluded.last_seq)",

	nowMS:          "CAST((julianday('now')-2440587.5)*86400000 AS INTEGER)",
	raiseHeartbeat: " ON CONFLICT (instance_id) DO UPDATE SET heartbeat_time=MAX(heartbeat_time,excluded.heartbeat_time)",
	raiseFlushed:   " ON CONFLICT (instance_id, partition_id) DO UPDATE SET gen=MAX(gen,excluded.gen)",
	byGroupTime:    " INDEXED BY group_msg_group_time",
	byTime:         " INDEXED BY group_msg_msg_time",

	maxInsert: 4 << 20,

	number:       sqliteNumber,
	retryable:    []int{5, 6},       // BUSY, LOCKED
	missingTable: []int{1},          // ERROR: there is no finer code
	refused:      []int{18, 19, 20}, // TOOBIG, CONSTRAINT, MISMATCH
}

func sqliteNumber(err error) int {
	var e *gosqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
