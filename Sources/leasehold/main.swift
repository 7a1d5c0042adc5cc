Leasehold.main()
