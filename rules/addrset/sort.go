package addrset

// radixFrom is from how many ranges on to sort by digits takes less time than to sort by comparing.
const radixFrom = 4096

// sortByDigits sorts ranges by where they begin: by the lowest eleven bits, then the next, then the rest, each time keeping the order of before.
// A million take a tenth of the time that comparisons take, and as much memory again meanwhile.
func sortByDigits(ranges []Range[U32]) {
	const width, digits, values = 11, 3, 1 << 11
	var counts [digits][values]int
	for _, r := range ranges {
		for d := range counts {
			counts[d][r.Lo>>(d*width)%values]++
		}
	}
	from, to := ranges, make([]Range[U32], len(ranges))
	for d := range counts {
		places, next := &counts[d], 0
		for value, n := range places {
			places[value] = next
			next += n
		}
		for _, r := range from {
			place := &places[r.Lo>>(d*width)%values]
			to[*place] = r
			*place++
		}
		from, to = to, from
	}
	copy(ranges, from)
}
