from crystalseg.cli import main

if __name__ == "__main__":
    main()
