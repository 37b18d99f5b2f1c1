module ringwall

go 1.26.0
