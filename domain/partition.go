package domain

// Partitions is how many slots the keys are spread over; fixed for the life of an installation.
type Partitions int

// Of is the partition of a group (or user): CRC16/XMODEM of the id, modulo the number of partitions – the
// checksum Redis Cluster uses for its slots.
func (n Partitions) Of(id string) int {
	var crc uint16
	for i := 0; i < len(id); i++ {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^id[i]]
	}
	return int(crc) % int(n)
}

var crc16Table = makeCRC16Table()

func makeCRC16Table() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}
